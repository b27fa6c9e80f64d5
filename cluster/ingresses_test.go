package cluster

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/internal/apitest"
)

const shopIngress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations:
    nginx.ingress.kubernetes.io/affinity: cookie
    nginx.ingress.kubernetes.io/proxy-bodysize: 8m
spec:
  ingressClassName: nginx
  tls: [{hosts: [shop.example.org], secretName: shop}]
  rules:
  - host: shop.example.org
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
`

// said is remarks as text, a line each, with the first words of what they say.
func said(list []IngressRemark) string {
	var b strings.Builder
	for _, r := range list {
		text, _, _ := strings.Cut(r.Text, ";")
		fmt.Fprintf(&b, "%s %s %s: %s\n", r.Ingress, r.Where, r.Level, text)
	}
	return b.String()
}

// Ingresses are found in every form of a file; where none is, or one of a version that is gone, or with a field that there is not, that is said.
func TestReadIngresses(t *testing.T) {
	inList := "kind: List\napiVersion: v1\nitems:\n- kind: Service\n  apiVersion: v1\n- " + strings.ReplaceAll(strings.TrimSuffix(shopIngress, "\n"), "\n", "\n  ") + "\n"
	for name, c := range map[string]struct {
		text  string
		count int
		err   string
	}{
		"several":  {"---\n---\nkind: Service\n---\n" + shopIngress + "---\n" + shopIngress, 2, ""},
		"a list":   {inList, 1, ""},
		"JSON":     {`{"kind":"Ingress","apiVersion":"networking.k8s.io/v1","metadata":{"name":"a"}}{"kind":"Ingress","apiVersion":"networking.k8s.io/v1"}`, 2, ""},
		"none":     {"kind: Service\n", 0, "there is no Ingress in there"},
		"empty":    {"", 0, "there is no Ingress in there"},
		"old":      {strings.Replace(shopIngress, "networking.k8s.io/v1", "extensions/v1beta1", 1), 0, "document 1: an Ingress of extensions/v1beta1: write it as networking.k8s.io/v1"},
		"mistyped": {strings.Replace(shopIngress, "ingressClassName", "ingresClassName", 1), 0, `unknown field "ingresClassName"`},
		"no YAML":  {"a: [", 0, "document 1"},
	} {
		list, err := readIngresses([]byte(c.text))
		if c.err == "" && (err != nil || len(list) != c.count) {
			t.Errorf("%s: %d Ingresses and %v, want %d", name, len(list), err, c.count)
		}
		if _, err := CheckIngressFiles([]string{"-"}, strings.NewReader(c.text)); c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}

// TestCheckAllIngresses asks a real API server for what an Ingress names.
func TestCheckAllIngresses(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t))
	ing := &networkingv1.Ingress{}
	if err := yaml.Unmarshal([]byte(shopIngress), ing); err != nil {
		t.Fatal(err)
	}
	if _, err := client.NetworkingV1().Ingresses("default").Create(t.Context(), ing, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		list, err := checkAll(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if got := said(list); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	const annotations = "default/shop affinity same: \ndefault/shop proxy-bodysize not supported: there is no such annotation\n"
	check("default/shop spec.ingressClassName wrong: there is no IngressClass nginx, so nobody serves it\n" + annotations +
		"default/shop spec.rules[0].http.paths[0].backend wrong: there is no Service default/web: requests for it get 503. Create the Service, or name one that there is\n" +
		"default/shop spec.tls[0] wrong: there is no Secret default/shop: clients get a certificate that they do not know. Create it, of type kubernetes.io/tls\n")

	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "nginx"}, Spec: networkingv1.IngressClassSpec{Controller: "k8s.io/ingress-nginx"}}
	if _, err := client.NetworkingV1().IngressClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	web := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")}}
	if _, err := client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	check("default/shop spec.ingressClassName differs: class nginx is served by k8s.io/ingress-nginx\n" + annotations +
		"default/shop spec.tls[0] wrong: Secret default/shop has no certificate with its key (clients get the one that it had before, if it had one): failed to find any PEM data in certificate input. Create it anew of a certificate and the key that it was made for\n")
}
