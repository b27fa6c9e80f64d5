package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/l7/gateway"
	"fairlead.dev/fairlead/network/world/gateways"
)

// cluster is an API server with the controller.
type cluster struct {
	*testing.T
	server     *apiserver.Server
	config     *rest.Config
	client     kubernetes.Interface
	dynamic    dynamic.Interface
	group      rest.Interface
	controller *Controller

	mu     sync.Mutex
	behind map[string]error // nodes that serve nothing, or do not even say so
}

func start(t *testing.T) *cluster {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	c := &cluster{T: t, server: server, config: server.ClientConfig()}
	c.client, c.dynamic = kubernetes.NewForConfigOrDie(c.config), dynamic.NewForConfigOrDie(c.config)
	var err error
	if c.group, err = gateways.Client(c.config); err != nil {
		t.Fatal(err)
	}
	c.behind = map[string]error{}
	c.node("n1", corev1.ConditionTrue)
	c.control()
	return c
}

// node makes a node, or has it be ready or not.
func (c *cluster) node(name string, ready corev1.ConditionStatus) {
	c.Helper()
	n, err := c.client.CoreV1().Nodes().Create(c.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		n, err = c.client.CoreV1().Nodes().Get(c.Context(), name, metav1.GetOptions{})
	}
	if err == nil {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		_, err = c.client.CoreV1().Nodes().UpdateStatus(c.Context(), n, metav1.UpdateOptions{})
	}
	if err != nil {
		c.Fatal(err)
	}
}

// serves is what the agent of a node says: it serves what there is, unless it is behind.
func (c *cluster) serves(_ context.Context, n *corev1.Node) (announce.Serving, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err, behind := c.behind[n.Name]; behind {
		return announce.Serving{}, err
	}
	return gateway.Derive(c.controller.view(), &gateway.Memory{}).Serving(), nil
}

// late has a node serve nothing, and say so unless there is an error.
func (c *cluster) late(node string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind[node] = err
}

// control runs the controller, and returns what stops it.
func (c *cluster) control() (stop func()) {
	shared := informers.NewSharedInformerFactory(c.client, 0)
	c.controller = New(c.client, c.config, shared, Store{Names: c.server.CustomNames, AwaitUse: c.server.AwaitUse, Preset: c.server.Preset, PresetObject: c.server.PresetObject}, c.serves, slog.New(slog.NewTextHandler(c.Output(), nil)))
	return apitest.Control(c, shared, c.controller.Run)
}

// apply makes the objects of a manifest as they are written there.
func (c *cluster) apply(manifests string) {
	c.Helper()
	for _, doc := range strings.Split(manifests, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			c.Fatal(err)
		}
		gvk := o.GroupVersionKind()
		plural := map[string]string{"GatewayClass": "gatewayclasses", "BackendTLSPolicy": "backendtlspolicies"}[gvk.Kind]
		if plural == "" {
			plural = strings.ToLower(gvk.Kind) + "s"
		}
		to := c.dynamic.Resource(gvk.GroupVersion().WithResource(plural)).Namespace(o.GetNamespace())
		apitest.Eventually(c, func() string { // the definitions may not be there yet
			if _, err := to.Apply(c.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

// awaits waits until the conditions of an object hold what is wanted.
func (c *cluster) awaits(resource, name string, conditions func() []metav1.Condition, want ...string) {
	c.Helper()
	apitest.Eventually(c, func() string {
		var got []string
		for _, k := range conditions() {
			got = append(got, fmt.Sprintf("%s=%s/%s", k.Type, k.Status, k.Reason))
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				return fmt.Sprintf("%s %s: %v, want %s", resource, name, got, w)
			}
		}
		return ""
	})
}

func (c *cluster) get(resource, name string, into runtime.Object) {
	c.Helper()
	if err := c.group.Get().Resource(resource).Namespace("default").Name(name).Do(c.Context()).Into(into); err != nil && !apierrors.IsNotFound(err) {
		c.Fatal(err)
	}
}

func (c *cluster) gateway(name string) []metav1.Condition {
	g := &gw.Gateway{}
	c.get("gateways", name, g)
	return g.Status.Conditions
}

func (c *cluster) route(name string) []metav1.Condition {
	r := &gw.HTTPRoute{}
	c.get("httproutes", name, r)
	for _, p := range r.Status.Parents {
		return p.Conditions
	}
	return nil
}

const manifests = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  gatewayClassName: fairlead
  infrastructure: {labels: {a: b}, annotations: {c: d}}
  listeners: [{name: http, port: 80, protocol: HTTP}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: default}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: u, namespace: default}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 5353}]}]}`

// Everything from the definitions to the addresses of a Gateway, and its end.
func TestGateway(t *testing.T) {
	c := start(t)
	c.apply(manifests)
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Accepted=True/Accepted", "Programmed=False/AddressNotAssigned")
	c.awaits("HTTPRoute", "r", func() []metav1.Condition { return c.route("r") }, "Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound")
	services := c.client.CoreV1().Services("default")
	s, err := services.Get(t.Context(), "gateway-g", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Spec.Ports) != 2 || s.Labels["gateway.networking.k8s.io/gateway-name"] != "g" ||
		s.Labels["a"] != "b" || s.Annotations["c"] != "d" || s.Annotations["fairlead.dev/l7"] != "gateway" {
		t.Errorf("the Service is %+v", s)
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	if _, err := services.UpdateStatus(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.apply("apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: default}\nspec: {ports: [{name: h, port: 80}, {name: d, port: 5353, protocol: UDP}]}\n---\n" +
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s-1, namespace: default, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.7]}]\nports: [{name: d, port: 99, protocol: UDP}]")
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Programmed=True/Programmed")
	c.awaits("HTTPRoute", "r", func() []metav1.Condition { return c.route("r") }, "ResolvedRefs=True/ResolvedRefs")
	apitest.Eventually(t, func() string {
		list, err := c.client.DiscoveryV1().EndpointSlices("default").List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=gateway-g"})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 || list.Items[0].Endpoints[0].Addresses[0] != "10.0.0.7" || *list.Items[0].Ports[0].Port != 99 || *list.Items[0].Ports[0].Name != "udp-53" {
			return fmt.Sprintf("the slices of the UDP port are %+v", list.Items)
		}
		return ""
	})
	c.apply(strings.Replace(strings.Split(manifests, "\n---\n")[0], "infrastructure: {labels: {a: b}, annotations: {c: d}}", "addresses: [{value: 192.0.2.9}]", 1))
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Programmed=False/AddressNotUsable")
	apitest.Eventually(t, func() string {
		s, err := services.Get(t.Context(), "gateway-g", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Labels["a"] != "" || s.Annotations["c"] != "" || s.Annotations["fairlead.dev/addresses"] != "192.0.2.9" {
			return fmt.Sprintf("the Service still is %v %v", s.Labels, s.Annotations)
		}
		return ""
	})
	apitest.QueuesRest(t)
	events, err := c.client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Gateway"})
	if err != nil || len(events.Items) == 0 {
		t.Errorf("%d Events, %v", len(events.Items), err)
	}
}

// A Service that somebody else has made under the name stays as it is, and the Gateway says so.
func TestForeignService(t *testing.T) {
	c := start(t)
	c.apply("apiVersion: v1\nkind: Service\nmetadata: {name: gateway-g, namespace: default}\nspec: {ports: [{port: 1234}]}\n---\n" + manifests)
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Programmed=False/NoResources")
	s, err := c.client.CoreV1().Services("default").Get(t.Context(), "gateway-g", metav1.GetOptions{})
	if err != nil || s.Spec.Ports[0].Port != 1234 || len(s.Labels) > 0 {
		t.Errorf("the Service is %+v, %v", s, err)
	}
}

// While nobody uses Gateways the controller sleeps, with the class there and accepted; after a restart it wakes by what is stored.
func TestSleep(t *testing.T) {
	c := start(t)
	class := &gw.GatewayClass{}
	apitest.Eventually(t, func() string {
		err := c.group.Get().Resource("gatewayclasses").Name("fairlead").Do(t.Context()).Into(class)
		if err != nil || len(class.Status.SupportedFeatures) == 0 || class.Status.Conditions[0].Status != metav1.ConditionTrue {
			return fmt.Sprintf("%v: %+v", err, class.Status)
		}
		return ""
	})
	c.apply(strings.Split(manifests, "\n---\n")[1]) // a route alone wakes nobody
	apitest.QueuesRest(t)
	if c.controller.awake.Load() {
		t.Error("it is awake without a Gateway")
	}
	c.apply(manifests)
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Accepted=True/Accepted")
}

// A field that the installed definitions do not have is not ignored: whoever asks for strict validation, as kubectl does, is refused.
func TestFieldsOfTheExperimentalChannel(t *testing.T) {
	c := start(t)
	routes := c.dynamic.Resource(schema.GroupVersionResource{Group: gw.GroupName, Version: "v1", Resource: "httproutes"}).Namespace("default")
	for _, field := range []string{"retry: {attempts: 3}", "sessionPersistence: {sessionName: c}"} {
		name, _, _ := strings.Cut(field, ":")
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}], "+field+"}]}"), &o.Object); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, func() string { // the definitions may not be there yet
			_, err := routes.Create(t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			if err == nil || !strings.Contains(err.Error(), `unknown field "spec.rules[0].`+name+`"`) {
				return fmt.Sprintf("%s: %v", name, err)
			}
			return ""
		})
	}
}

// A controller that starts where there are Gateways looks after them.
func TestRestart(t *testing.T) {
	c := start(t)
	c.apply(manifests)
	c.awaits("Gateway", "g", func() []metav1.Condition { return c.gateway("g") }, "Accepted=True/Accepted")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.server.AwaitUse(ctx, gw.GroupName, []string{"gateways"}, ""); err != nil || ctx.Err() != nil {
		t.Errorf("the stored Gateway wakes nobody: %v %v", err, ctx.Err())
	}
	names, err := c.server.CustomNames(t.Context(), schema.GroupResource{Group: gw.GroupName, Resource: "gateways"})
	if err != nil || !slices.Equal(names, []string{"g"}) {
		t.Errorf("Gateways are %v, %v", names, err)
	}
}

// A Gateway and its listeners are programmed once every node that is ready says that it serves them as they are now; until then their
// conditions say who lags, or stay what they were of an earlier generation.
func TestProgrammedByNodes(t *testing.T) {
	c := start(t)
	c.node("n2", corev1.ConditionTrue)
	c.late("n2", nil)
	manifest := strings.Split(manifests, "\n---\n")[0]
	c.apply(manifest)
	services := c.client.CoreV1().Services("default")
	apitest.Eventually(t, func() string {
		s, err := services.Get(t.Context(), "gateway-g", metav1.GetOptions{})
		if err == nil {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
			_, err = services.UpdateStatus(t.Context(), s, metav1.UpdateOptions{})
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	said := func(want string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			g := &gw.Gateway{}
			c.get("gateways", "g", g)
			all := [][]metav1.Condition{g.Status.Conditions}
			for _, l := range g.Status.Listeners {
				if l.Name == "http" {
					all = append(all, l.Conditions)
				}
			}
			for _, conditions := range all {
				p := meta.FindStatusCondition(conditions, "Programmed")
				if p == nil {
					return "nothing is said"
				}
				if got := fmt.Sprintf("%s/%s of %d: %s", p.Status, p.Reason, p.ObservedGeneration-g.Generation, p.Message); !strings.HasPrefix(got, want) || len(all) < 2 {
					return fmt.Sprintf("Programmed is %s, want %s", got, want)
				}
			}
			return ""
		})
	}
	said("False/Pending of 0: Not served yet by n2")
	c.late("n2", errors.New("connection refused"))
	said("False/Pending of 0: Not served yet by n2: node n2 does not answer")
	c.mu.Lock()
	delete(c.behind, "n2")
	c.mu.Unlock()
	said("True/Programmed of 0")
	apitest.QueuesRest(t)
	c.late("n2", nil)
	g := &gw.Gateway{}
	c.get("gateways", "g", g)
	patch := `{"spec": {"allowedListeners": {"namespaces": {"from": "Same"}}}}`
	if err := c.group.Patch(types.MergePatchType).Resource("gateways").Namespace("default").Name("g").Body([]byte(patch)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	said("True/Programmed of -1") // of the generation before
	c.node("n2", corev1.ConditionUnknown)
	said("True/Programmed of 0")
}

// TestDocumentedExample: the example of docs/gateway.md is accepted as it stands, and served once its Gateway has an address.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "kubectl apply -f - <<'YAML'\n")
	example, _, found := strings.Cut(rest, "\nYAML\n")
	if !found {
		t.Fatal("docs/gateway.md has no example")
	}
	c := start(t)
	for _, doc := range strings.Split(example, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(doc), &o.Object); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		to := c.dynamic.Resource(o.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(o.GetKind()) + "s")).Namespace("default")
		apitest.Eventually(t, func() string { // the definitions may not be there yet
			if _, err := to.Create(t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	c.apply("apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: default}\nspec: {ports: [{port: 80}]}")
	c.awaits("HTTPRoute", "shop", func() []metav1.Condition { return c.route("shop") }, "Accepted=True/Accepted")
	c.awaits("HTTPRoute", "shop", func() []metav1.Condition { return c.route("shop") }, "ResolvedRefs=True/ResolvedRefs")
	c.awaits("Gateway", "web", func() []metav1.Condition { return c.gateway("web") }, "Programmed=False/AddressNotAssigned")
	services := c.client.CoreV1().Services("default")
	s, err := services.Get(t.Context(), "gateway-web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	if _, err := services.UpdateStatus(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.awaits("Gateway", "web", func() []metav1.Condition { return c.gateway("web") }, "Programmed=True/Programmed")
}
