package apiserver_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
)

// ingress is an Ingress of a class that names a Secret as its certificate's.
func ingress(name, class, secret string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: networkingv1.IngressSpec{
			IngressClassName: ptr.To(class), Rules: []networkingv1.IngressRule{{Host: "a.example.com"}}, TLS: []networkingv1.IngressTLS{{SecretName: secret}},
		},
	}
}

// forbidden tells of a node's rights to a Secret: to get it, list it alone, and watch it alone, all of them or none.
func forbidden(t *testing.T, node kubernetes.Interface, namespace, name string) bool {
	t.Helper()
	alone := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	_, get := node.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	_, list := node.CoreV1().Secrets(namespace).List(t.Context(), alone)
	w, watch := node.CoreV1().Secrets(namespace).Watch(t.Context(), alone)
	if watch == nil {
		w.Stop()
	}
	is := [3]bool{apierrors.IsForbidden(get), apierrors.IsForbidden(list), apierrors.IsForbidden(watch)}
	if is != [3]bool{} && is != [3]bool{true, true, true} {
		t.Errorf("%s/%s: get %v, list %v, watch %v", namespace, name, get, list, watch)
	}
	return is[0]
}

// TestNodeReadsWhatIngressesName: at once when an Ingress of a class of ours names a Secret, nothing else of the namespace, and not
// any more when the Ingress is gone, names another, or its class is not ours.
func TestNodeReadsWhatIngressesName(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	makeSecrets(t, admin, "cert", "users", "other")
	ingresses, classes := admin.NetworkingV1().Ingresses("default"), admin.NetworkingV1().IngressClasses()
	for name, controller := range map[string]string{"ours": "fairlead.dev/ingress", "theirs": "k8s.io/ingress-nginx"} {
		class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: controller}}
		if _, err := classes.Create(ctx, class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	make := func(ing *networkingv1.Ingress) {
		t.Helper()
		if _, err := ingresses.Create(ctx, ing, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(what string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			if !forbidden(t, node, "default", "cert") {
				return what + ": the node may still read it"
			}
			return ""
		})
	}
	ends("nobody names it")
	make(ingress("a", "theirs", "cert"))
	make(ingress("b", "none", "cert"))
	unclassed := ingress("c", "", "cert")
	unclassed.Spec.IngressClassName = nil
	make(unclassed)
	ends("no class of ours names it")
	for range 20 {
		make(ingress("x", "ours", "cert"))
		if forbidden(t, node, "default", "cert") {
			t.Fatal("right after it was named: forbidden")
		}
		if err := ingresses.Delete(ctx, "x", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		ends("the Ingress is gone")
	}
	annotated := ingress("d", "", "cert")
	annotated.Spec.IngressClassName, annotated.Annotations = nil, map[string]string{"kubernetes.io/ingress.class": "ours", "nginx.ingress.kubernetes.io/auth-secret": "users"}
	make(annotated)
	if forbidden(t, node, "default", "cert") || forbidden(t, node, "default", "users") {
		t.Error("named by an Ingress with the old annotation, and as its users: forbidden")
	}
	for namespace, name := range map[string]string{"default": "other", "kube-system": "cert", "": "cert"} {
		if !forbidden(t, node, namespace, name) {
			t.Errorf("%s/%s can be read", namespace, name)
		}
	}
	mayNothingElse(t, node)
	if err := classes.Delete(ctx, "ours", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ends("its class is gone")
}

// mayNothingElse checks what a node may not do although a Secret of the namespace is named.
func mayNothingElse(t *testing.T, node kubernetes.Interface) {
	t.Helper()
	secrets, ctx := node.CoreV1().Secrets("default"), t.Context()
	for _, selector := range []metav1.ListOptions{{}, {FieldSelector: "metadata.name!=other"}, {FieldSelector: "type=Opaque"}, {LabelSelector: "a=b"}} {
		if _, err := secrets.List(ctx, selector); !apierrors.IsForbidden(err) {
			t.Errorf("a list of %v: %v", selector, err)
		}
		if _, err := secrets.Watch(ctx, selector); !apierrors.IsForbidden(err) {
			t.Errorf("a watch of %v: %v", selector, err)
		}
	}
	named := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert"}}
	_, update := secrets.Update(ctx, named, metav1.UpdateOptions{})
	_, create := secrets.Create(ctx, named, metav1.CreateOptions{})
	_, maps := node.CoreV1().ConfigMaps("default").Get(ctx, "cert", metav1.GetOptions{})
	for what, err := range map[string]error{
		"update": update, "create": create, "delete": secrets.Delete(ctx, "cert", metav1.DeleteOptions{}), "a ConfigMap of its name": maps,
		"delete by a selector": secrets.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=cert"}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := node.NetworkingV1().Ingresses("").List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("all Ingresses: %v", err)
	}
	if _, err := node.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("all classes: %v", err)
	}
	if err := node.NetworkingV1().Ingresses("default").Delete(ctx, "d", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("deletes an Ingress: %v", err)
	}
	if err := node.NetworkingV1().IngressClasses().Delete(ctx, "ours", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("deletes a class: %v", err)
	}
}

// TestNamedSecretsAreFoundByAnIndex: the question whether an Ingress names a Secret reads those Ingresses that do, not all.
func TestNamedSecretsAreFoundByAnIndex(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "ours"}, Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"}}
	if _, err := admin.NetworkingV1().IngressClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	makeSecrets(t, admin, "s7")
	for i := range 50 {
		name := fmt.Sprintf("s%d", i)
		if _, err := admin.NetworkingV1().Ingresses("default").Create(t.Context(), ingress(name, "ours", name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// The counters are those of the whole process.
	const name = `apiserver_cache_list_fetched_objects_total{group="networking.k8s.io",index="%s",resource="ingresses"}`
	before := apitest.Metrics(t, legacyregistry.DefaultGatherer)
	if forbidden(t, node, "default", "s7") || !forbidden(t, node, "default", "nobodys") {
		t.Error("what the node may read is wrong")
	}
	after := apitest.Metrics(t, legacyregistry.DefaultGatherer)
	all, indexed := fmt.Sprintf(name, ""), fmt.Sprintf(name, "f:fairlead.dev/secret")
	if n := after[all] - before[all]; n > 0 {
		t.Errorf("%v Ingresses were read without the index", n)
	}
	if n := after[indexed] - before[indexed]; n < 1 || n > 6 { // three questions, each asked once or twice
		t.Errorf("%v Ingresses were read by the index", n)
	}
}
