package cluster

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/internal/apitest"
)

// oddities are objects that no controller can bring to an end: whoever waits for them must wait without work.
var oddities = []struct{ resource, manifest string }{
	{"v1/nodes", `{apiVersion: v1, kind: Node, metadata: {name: silent}, spec: {podCIDR: 10.244.7.0/24, podCIDRs: [10.244.7.0/24]}}`},
	{"v1/nodes", `{apiVersion: v1, kind: Node, metadata: {name: tainted}, spec: {taints: [{key: a, effect: NoExecute}]}}`},
	{"coordination.k8s.io/v1/leases", `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: kube-node-lease, name: nobody}}`},
	{"v1/pods", `{apiVersion: v1, kind: Pod, metadata: {namespace: default, name: homeless}, spec: {nodeName: nowhere, containers: [{name: c, image: i}]}}`},
	{"v1/pods", `{apiVersion: v1, kind: Pod, metadata: {namespace: default, name: nowhere-to-go}, spec: {nodeSelector: {a: b}, containers: [{name: c, image: i}]}}`},
	{"v1/configmaps", `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: default, name: strange-owner,
		ownerReferences: [{apiVersion: example.com/v1, kind: Unknown, name: x, uid: 11111111-2222-3333-4444-555555555555}]}}`},
	{"v1/namespaces", `{apiVersion: v1, kind: Namespace, metadata: {name: wrongly-owned,
		ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: 11111111-2222-3333-4444-555555555555, blockOwnerDeletion: true}]}}`},
	{"apps/v1/deployments", `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: default, name: one},
		spec: {replicas: 3, selector: {matchLabels: {app: same}}, template: {metadata: {labels: {app: same}}, spec: {nodeSelector: {a: b}, containers: [{name: c, image: i}]}}}}`},
	{"apps/v1/deployments", `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: default, name: other},
		spec: {replicas: 2, selector: {matchLabels: {app: same}}, template: {metadata: {labels: {app: same}}, spec: {schedulerName: none, containers: [{name: c, image: i}]}}}}`},
	{"apps/v1/replicasets", `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {namespace: default, name: third},
		spec: {replicas: 2, selector: {matchLabels: {app: same}}, template: {metadata: {labels: {app: same}}, spec: {containers: [{name: c, image: i}]}}}}`},
	{"v1/services", `{apiVersion: v1, kind: Service, metadata: {namespace: default, name: same}, spec: {selector: {app: same}, ports: [{port: 80}]}}`},
	{"v1/services", `{apiVersion: v1, kind: Service, metadata: {namespace: default, name: pending}, spec: {type: LoadBalancer, selector: {app: same}, ports: [{port: 80}]}}`},
	{"v1/services", `{apiVersion: v1, kind: Service, metadata: {namespace: default, name: by-hand}, spec: {ports: [{port: 80}]}}`},
	{"v1/endpoints", `{apiVersion: v1, kind: Endpoints, metadata: {namespace: default, name: by-hand}, subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80}]}]}`},
	{"v1/endpoints", `{apiVersion: v1, kind: Endpoints, metadata: {namespace: default, name: of-none}, subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80}]}]}`},
	{"discovery.k8s.io/v1/endpointslices", `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, endpoints: [],
		metadata: {namespace: default, name: of-none, labels: {kubernetes.io/service-name: none, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}}`},
	{"v1/namespaces", `{apiVersion: v1, kind: Namespace, metadata: {name: ending}}`},
	{"v1/configmaps", `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ending, name: held, finalizers: [example.com/hold]}}`},
}

// Every controller over a cluster full of what cannot be finished comes to rest: no queue is put to work by itself.
func TestOddObjectsKeepNoQueueBusy(t *testing.T) {
	server := apitest.Config(t, t.TempDir())
	api, _ := apitest.Run(t, server)
	ctx, cancel := context.WithCancel(t.Context())
	var parts errgroup.Group
	defer func() {
		cancel()
		if err := parts.Wait(); err != nil {
			t.Error(err)
		}
	}()
	settings := config.Settings{Networking: config.Networking{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Services: server.ServiceCIDRs}}
	if _, err := startControllers(ctx, &parts, api.ClientConfig(), server.CA, settings, nil, customsOf(api), api.SecretToken, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(api.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range oddities {
		create(t, client, o.resource, o.manifest)
	}
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace("default")
	var circle []*unstructured.Unstructured
	for _, name := range []string{"circle1", "circle2", "circle3"} {
		circle = append(circle, create(t, client, "v1/configmaps", `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: default, name: `+name+`, finalizers: [example.com/hold]}}`))
	}
	for i, next := range []int{1, 2, 0} {
		patch := `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","blockOwnerDeletion":true,"name":"` + circle[next].GetName() + `","uid":"` + string(circle[next].GetUID()) + `"}]}}`
		if _, err := maps.Patch(t.Context(), circle[i].GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	foreground := metav1.DeletePropagationForeground
	if err := maps.Delete(t.Context(), "circle1", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	if err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Delete(t.Context(), "ending", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.QueuesRest(t)
	for name, n := range apitest.QueueAdds(t) {
		if n > 1000 {
			t.Errorf("queue %s: %v adds for %d objects", name, n, len(oddities)+len(circle))
		}
	}
}

// create creates the object of a manifest; resource is GROUP/VERSION/PLURAL.
func create(t *testing.T, client dynamic.Interface, resource, manifest string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &obj.Object); err != nil {
		t.Fatal(err)
	}
	gv := obj.GroupVersionKind().GroupVersion()
	made, err := client.Resource(gv.WithResource(resource[len(gv.String())+1:])).Namespace(obj.GetNamespace()).Create(t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("%s: %v", manifest, err)
	}
	return made
}
