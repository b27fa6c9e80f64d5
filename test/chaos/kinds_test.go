package chaos

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// kind is a resource that the writers write. Its manifest makes an object that no controller deletes and no node runs.
type kind struct {
	schema.GroupVersionResource
	kind     string
	manifest string // besides kind and metadata
}

// space is the namespace of everything that is written.
const space = "chaos"

// note is the annotation that carries the value of an object.
const note = "fairlead.dev/chaos"

func resource(group, version, name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

const template = `{replicas: 0, selector: {matchLabels: {app: none}}, template: {metadata: {labels: {app: none}}, spec: {containers: [{name: a, image: none}]}}}`

var kinds = []kind{
	{resource("", "v1", "configmaps"), "ConfigMap", `data: {a: b}`},
	{resource("", "v1", "secrets"), "Secret", `stringData: {a: b}`},
	{resource("", "v1", "services"), "Service", `spec: {type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP}]}`},
	// Endpoints without a Service are deleted when the program starts, as upstream does, but those that elect a leader.
	{resource("", "v1", "endpoints"), "Endpoints", `metadata: {annotations: {control-plane.alpha.kubernetes.io/leader: "{}"}}
subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 80}]}]`},
	{resource("discovery.k8s.io", "v1", "endpointslices"), "EndpointSlice", `{addressType: IPv4, endpoints: [{addresses: [192.0.2.7]}], ports: [{port: 80}]}`},
	{resource("", "v1", "pods"), "Pod", `spec: {nodeSelector: {nowhere: "true"}, containers: [{name: a, image: none}]}`},
	{resource("apps", "v1", "deployments"), "Deployment", `spec: ` + template},
	{resource("apps", "v1", "replicasets"), "ReplicaSet", `spec: ` + template},
	{resource("", "v1", "serviceaccounts"), "ServiceAccount", `{}`},
	{resource("coordination.k8s.io", "v1", "leases"), "Lease", `spec: {holderIdentity: a}`},
	{resource("chaos.fairlead.dev", "v1", "widgets"), "Widget", `spec: {size: 1}`},
}

// widgets is the definition of the custom resource among the kinds.
const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.chaos.fairlead.dev}
spec:
  group: chaos.fairlead.dev
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
`

// object is a new object of the kind.
func (k kind) object(name string, value int) *unstructured.Unstructured {
	u := parse(k.manifest)
	u.SetGroupVersionKind(k.GroupVersion().WithKind(k.kind))
	u.SetName(name)
	u.SetNamespace(space)
	mark(u, value)
	return u
}

func parse(text string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		panic(fmt.Sprintf("%s: %v", text, err)) // a constant of this package
	}
	return u
}

// mark sets the value of an object, and value reads it.
func mark(u *unstructured.Unstructured, value int) {
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all[note] = strconv.Itoa(value)
	u.SetAnnotations(all)
}

func value(u *unstructured.Unstructured) int {
	n, _ := strconv.Atoi(u.GetAnnotations()[note]) // 0, an impossible value, for an object without
	return n
}

// revision is an object's resourceVersion as the number that it is here.
func revision(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64) // 0, before everything, for none
	return n
}
