package ingress

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/world/secrets"
	"fairlead.dev/fairlead/pki"
)

// start runs a Controller with caches of its own until stop or the test's end.
func start(t *testing.T, client kubernetes.Interface, classes ...string) (c *Controller, stop func()) {
	t.Helper()
	shared, quiet := informers.NewSharedInformerFactory(client, 0), slog.New(slog.DiscardHandler)
	follows := Follows{secrets.New(client, quiet), secrets.NewConfigMaps(client, quiet)}
	c = New(client, shared, follows, classes, slog.New(slog.NewTextHandler(t.Output(), nil)))
	c.settle = 50 * time.Millisecond
	return c, apitest.Control(t, shared, c.Run, follows.Secrets.Run, follows.ConfigMaps.Run)
}

func connect(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// web is an Ingress of a class that sends a host's requests to port 80 of the Service web.
func web(name, class string) *networkingv1.Ingress {
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}
	path := networkingv1.HTTPIngressPath{Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix), Backend: backend}
	ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
		Host: name + ".example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{path}}},
	}}}}
	if class != "" {
		ing.Spec.IngressClassName = &class
	}
	return ing
}

func create(t *testing.T, client kubernetes.Interface, ing *networkingv1.Ingress) {
	t.Helper()
	if _, err := client.NetworkingV1().Ingresses("default").Create(t.Context(), ing, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// edit changes an Ingress, however often somebody else is faster.
func edit(t *testing.T, client kubernetes.Interface, name string, change func(*networkingv1.Ingress)) {
	t.Helper()
	for {
		ing, err := client.NetworkingV1().Ingresses("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		change(ing)
		_, err = client.NetworkingV1().Ingresses("default").Update(t.Context(), ing, metav1.UpdateOptions{})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
	}
}

func addService(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// addNode makes a node, or changes it, that is ready or not, with addresses.
func addNode(t *testing.T, client kubernetes.Interface, name string, ready corev1.ConditionStatus, addresses ...string) {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		if n, err = client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n.Status.Addresses = nil
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func addresses(t *testing.T, client kubernetes.Interface, name string) string {
	t.Helper()
	ing, err := client.NetworkingV1().Ingresses("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, in := range ing.Status.LoadBalancer.Ingress {
		all = append(all, in.IP+in.Hostname)
	}
	return strings.Join(all, " ")
}

func addressesBecome(t *testing.T, client kubernetes.Interface, name, want string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		if got := addresses(t, client, name); got != want {
			return fmt.Sprintf("ingress %s has the addresses %q, want %q", name, got, want)
		}
		return ""
	})
}

// begun waits until Ingresses of the class fairlead are served, on a node of their own.
func begun(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	addNode(t, client, "n1", corev1.ConditionTrue, "192.0.2.11")
	create(t, client, web("first", "fairlead"))
	addressesBecome(t, client, "first", "192.0.2.11")
}

// events are the codes of what was said of an Ingress, sorted.
func events(t *testing.T, client kubernetes.Interface, name string) string {
	t.Helper()
	list, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ingress,involvedObject.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		all = append(all, fmt.Sprintf("%s %s", e.Type, e.Reason))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func eventsBecome(t *testing.T, client kubernetes.Interface, name, want string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		if got := events(t, client, name); got != want {
			return fmt.Sprintf("of ingress %s was said %q, want %q", name, got, want)
		}
		return ""
	})
}

// TestClassesAreMade: at the first start, the first of them as the default; not over another controller's.
func TestClassesAreMade(t *testing.T) {
	client := connect(t)
	classes := client.NetworkingV1().IngressClasses()
	taken := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "nginx"}, Spec: networkingv1.IngressClassSpec{Controller: "k8s.io/ingress-nginx"}}
	if _, err := classes.Create(t.Context(), taken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, stop := start(t, client, "fairlead", "nginx", "edge")
	look := func() string {
		list, err := classes.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, c := range list.Items {
			text += fmt.Sprintf("%s %s %s;", c.Name, c.Spec.Controller, c.Annotations[networkingv1.AnnotationIsDefaultIngressClass])
		}
		return text
	}
	become := func(want string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			if got := look(); got != want {
				return "classes " + got
			}
			return ""
		})
	}
	become("edge fairlead.dev/ingress ;fairlead fairlead.dev/ingress true;nginx k8s.io/ingress-nginx ;")
	apitest.Eventually(t, func() string {
		list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=IngressClass,involvedObject.name=nginx"})
		if err != nil || len(list.Items) != 1 || !strings.Contains(list.Items[0].Message, "k8s.io/ingress-nginx") {
			return fmt.Sprintf("of the class that is taken was said %v, %v", list, err)
		}
		return ""
	})
	stop()
	for _, name := range []string{"fairlead", "nginx"} {
		if err := classes.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := classes.Patch(t.Context(), "edge", types.MergePatchType, []byte(`{"metadata":{"annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	start(t, client, "fairlead", "nginx")
	become("edge fairlead.dev/ingress true;fairlead fairlead.dev/ingress ;nginx fairlead.dev/ingress ;")
}

// TestI46_I47_Status: the addresses of the nodes that serve, as these come and go; nothing for classes of others.
func TestI46_I47_Status(t *testing.T) {
	client := connect(t)
	addService(t, client, "web")
	addNode(t, client, "n1", corev1.ConditionTrue, "192.0.2.11", "2001:db8::11")
	addNode(t, client, "n2", corev1.ConditionFalse, "192.0.2.12")
	theirs := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/other"}}
	if _, err := client.NetworkingV1().IngressClasses().Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create(t, client, web("early", "fairlead")) // before there is a class
	create(t, client, web("other", "theirs"))
	create(t, client, web("unknown", "nobody"))
	start(t, client, "fairlead")
	addressesBecome(t, client, "early", "192.0.2.11 2001:db8::11")
	old := web("old", "")
	old.Annotations = map[string]string{"kubernetes.io/ingress.class": "fairlead"}
	create(t, client, old)
	addressesBecome(t, client, "old", "192.0.2.11 2001:db8::11")
	addNode(t, client, "n2", corev1.ConditionTrue, "192.0.2.12")
	addressesBecome(t, client, "early", "192.0.2.11 192.0.2.12 2001:db8::11")
	addressesBecome(t, client, "old", "192.0.2.11 192.0.2.12 2001:db8::11")
	if _, err := client.CoreV1().Nodes().Patch(t.Context(), "n1", types.MergePatchType, []byte(`{"metadata":{"annotations":{"fairlead.dev/no-ingress":"port 80 is taken"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	addressesBecome(t, client, "early", "192.0.2.12")

	edit(t, client, "early", func(ing *networkingv1.Ingress) { ing.Spec.IngressClassName = ptr.To("theirs") })
	addressesBecome(t, client, "early", "")
	edit(t, client, "early", func(ing *networkingv1.Ingress) { ing.Spec.IngressClassName = ptr.To("fairlead") })
	addressesBecome(t, client, "early", "192.0.2.12")
	if err := client.NetworkingV1().IngressClasses().Delete(t.Context(), "fairlead", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	addressesBecome(t, client, "early", "")
	addressesBecome(t, client, "old", "")
	for _, name := range []string{"other", "unknown"} {
		if got := addresses(t, client, name); got != "" {
			t.Errorf("%s has the addresses %s", name, got)
		}
	}
}

// TestI46_OthersKeepTheirAddresses: what another controller has written stays, also where an Ingress was ours before.
func TestI46_OthersKeepTheirAddresses(t *testing.T) {
	client := connect(t)
	addService(t, client, "web")
	addNode(t, client, "n1", corev1.ConditionTrue, "192.0.2.11")
	create(t, client, web("a", "fairlead"))
	create(t, client, web("b", "fairlead"))
	_, stop := start(t, client, "fairlead")
	addressesBecome(t, client, "a", "192.0.2.11")
	addressesBecome(t, client, "b", "192.0.2.11")
	stop()
	for _, name := range []string{"a", "b"} {
		edit(t, client, name, func(ing *networkingv1.Ingress) { ing.Spec.IngressClassName = ptr.To("theirs") })
	}
	ing, err := client.NetworkingV1().Ingresses("default").Get(t.Context(), "b", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ing.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.1"}}
	if _, err := client.NetworkingV1().Ingresses("default").UpdateStatus(t.Context(), ing, metav1.UpdateOptions{FieldManager: "theirs"}); err != nil {
		t.Fatal(err)
	}
	start(t, client, "fairlead")
	addressesBecome(t, client, "a", "") // after which b has been looked at as well, or is soon
	create(t, client, web("c", "fairlead"))
	addressesBecome(t, client, "c", "192.0.2.11")
	if got := addresses(t, client, "b"); got != "203.0.113.1" {
		t.Errorf("another controller's addresses became %q", got)
	}
}

// certificate is a Secret with a certificate for a host.
func certificate(t *testing.T, name, host string, age time.Duration) *corev1.Secret {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca.Now = func() time.Time { return time.Now().Add(-age) }
	cert, key, err := ca.Issue(pki.Request{CommonName: host, Names: []string{host}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key}}
}

// TestEvents: each thing that cannot be served is said, once; what is mended is not.
func TestEvents(t *testing.T) {
	client := connect(t)
	addService(t, client, "web")
	start(t, client, "fairlead")
	begun(t, client)
	create(t, client, web("good", "fairlead"))
	second := web("second", "fairlead")
	second.Spec.Rules[0].Host = "good.example.com"
	wrongs := map[string]func(*networkingv1.Ingress){
		"service": func(ing *networkingv1.Ingress) { ing.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name = "nowhere" },
		"port":    func(ing *networkingv1.Ingress) { ing.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Port.Number = 81 },
		"class":   func(ing *networkingv1.Ingress) { ing.Spec.IngressClassName = ptr.To("nobody") },
		"resource": func(ing *networkingv1.Ingress) {
			ing.Spec.Rules[0].HTTP.Paths[0].Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "a"}}
		},
		"secret": func(ing *networkingv1.Ingress) {
			ing.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "nowhere", Hosts: []string{"secret.example.com"}}}
		},
		"expired": func(ing *networkingv1.Ingress) {
			ing.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "expired", Hosts: []string{"expired.example.com"}}}
		},
		"foreign": func(ing *networkingv1.Ingress) {
			ing.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "valid", Hosts: []string{"foreign.example.com"}}}
		},
		"unfit": func(ing *networkingv1.Ingress) {
			ing.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "unfit", Hosts: []string{"unfit.example.com"}}}
		},
		"valid": func(ing *networkingv1.Ingress) {
			ing.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "valid", Hosts: []string{"valid.example.com"}}}
		},
		"headers": func(ing *networkingv1.Ingress) {
			ing.Annotations = map[string]string{"nginx.ingress.kubernetes.io/custom-headers": "default/nowhere"}
		},
		"snippet": func(ing *networkingv1.Ingress) {
			ing.Annotations = map[string]string{"nginx.ingress.kubernetes.io/server-snippet": "return 200;"}
		},
	}
	valid, unfit := certificate(t, "valid", "valid.example.com", 0), certificate(t, "unfit", "unfit.example.com", 0)
	unfit.Data[corev1.TLSPrivateKeyKey] = valid.Data[corev1.TLSPrivateKeyKey]
	for _, s := range []*corev1.Secret{valid, unfit, certificate(t, "expired", "expired.example.com", 20*365*24*time.Hour)} {
		if _, err := client.CoreV1().Secrets("default").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, wrong := range wrongs {
		ing := web(name, "fairlead")
		wrong(ing)
		create(t, client, ing)
	}
	create(t, client, second)
	for name, want := range map[string]string{
		"service": "Warning ServiceMissing", "port": "Warning ServicePortMissing", "class": "Warning IngressClassMissing", "resource": "Warning ResourceBackend",
		"secret": "Warning SecretMissing", "expired": "Warning CertificateExpired", "foreign": "Warning CertificateForOtherHosts", "unfit": "Warning SecretInvalid",
		"headers": "Normal AnnotationDiffers, Warning ConfigMapMissing", "snippet": "Warning AnnotationNotSupported", "second": "Warning PathTaken",
	} {
		eventsBecome(t, client, name, want)
	}
	for _, name := range []string{"good", "valid"} {
		if got := events(t, client, name); got != "" {
			t.Errorf("of %s, which is served, was said %s", name, got)
		}
	}
	broken := valid.DeepCopy()
	broken.Data[corev1.TLSCertKey] = []byte("not any more")
	if _, err := client.CoreV1().Secrets("default").Update(t.Context(), broken, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventsBecome(t, client, "valid", "Warning SecretInvalid")
	if err := client.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventsBecome(t, client, "good", "Warning ServiceMissing")
}

// TestEventsAreNotRepeated: nothing that is still so is said again after a restart.
func TestEventsAreNotRepeated(t *testing.T) {
	client := connect(t)
	_, stop := start(t, client, "fairlead")
	begun(t, client)
	create(t, client, web("a", "fairlead"))
	eventsBecome(t, client, "a", "Warning ServiceMissing")
	stop()
	start(t, client, "fairlead")
	create(t, client, web("b", "fairlead"))
	eventsBecome(t, client, "b", "Warning ServiceMissing") // a was looked at before
	list, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=a"})
	if err != nil || len(list.Items) != 1 || list.Items[0].Count > 1 {
		t.Errorf("of a was said: %v, %v", list.Items, err)
	}
}
