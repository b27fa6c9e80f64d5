package ingress

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// cluster is what a test's World answers from.
type cluster struct {
	ingresses map[types.NamespacedName]*networkingv1.Ingress
	classes   map[string]*networkingv1.IngressClass
	services  map[types.NamespacedName]*corev1.Service
	secrets   map[types.NamespacedName]*corev1.Secret
	maps      map[types.NamespacedName]*corev1.ConfigMap
}

func (c *cluster) world() World {
	return World{
		Ingress:   func(n types.NamespacedName) *networkingv1.Ingress { return c.ingresses[n] },
		Class:     func(name string) *networkingv1.IngressClass { return c.classes[name] },
		Service:   func(n types.NamespacedName) *corev1.Service { return c.services[n] },
		Secret:    func(n types.NamespacedName) *corev1.Secret { return c.secrets[n] },
		ConfigMap: func(n types.NamespacedName) *corev1.ConfigMap { return c.maps[n] },
	}
}

// newCluster has the classes fairlead and nginx, which are ours, and other, which is not; the Services web, api and old with a port 80
// named http and one 8080 named admin, in the namespaces shop and other.
func newCluster() *cluster {
	c := &cluster{map[types.NamespacedName]*networkingv1.Ingress{}, map[string]*networkingv1.IngressClass{},
		map[types.NamespacedName]*corev1.Service{}, map[types.NamespacedName]*corev1.Secret{}, map[types.NamespacedName]*corev1.ConfigMap{}}
	for name, controller := range map[string]string{"fairlead": api.IngressController, ClassNginx: api.IngressController, "other": "example.org/other"} {
		class := &networkingv1.IngressClass{}
		class.Name, class.Spec.Controller = name, controller
		c.classes[name] = class
	}
	for _, ns := range []string{"shop", "other"} {
		for _, name := range []string{"web", "api", "old"} {
			c.service(ns, name, corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "admin", Port: 8080})
		}
	}
	return c
}

func (c *cluster) service(ns, name string, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{}
	s.Namespace, s.Name, s.Spec.Ports = ns, name, ports
	c.services[api.Name(s)] = s
	return s
}

// parse reads an Ingress. Its namespace is shop and its class fairlead unless it says otherwise.
func parse(t testing.TB, text string) *networkingv1.Ingress {
	t.Helper()
	ing := &networkingv1.Ingress{}
	if err := yaml.UnmarshalStrict([]byte(text), ing); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if ing.Namespace == "" {
		ing.Namespace = "shop"
	}
	if api.ClassOf(ing) == "" && ing.Annotations["none"] == "" {
		class := "fairlead"
		ing.Spec.IngressClassName = &class
	}
	return ing
}

// one is the text of an Ingress with rules given as HOST PATH [TYPE] BACKEND[:PORT], host * for every one.
func one(name string, annotations map[string]string, rules ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "metadata:\n  name: %s\n  annotations:\n    a: b\n", name)
	for key, value := range annotations {
		if strings.Contains(key, "/") {
			fmt.Fprintf(&b, "    %s: %q\n", key, value)
		} else {
			fmt.Fprintf(&b, "    %s%s: %q\n", Prefix, key, value)
		}
	}
	b.WriteString("spec:\n")
	for i, rule := range rules {
		words := strings.Fields(rule)
		if words[0] == "default" {
			service, port, _ := strings.Cut(words[1]+":80", ":")
			fmt.Fprintf(&b, "  defaultBackend: {service: {name: %s, port: {number: %s}}}\n", service, strings.Split(port, ":")[0])
			continue
		}
		if i == 0 || !strings.Contains(b.String(), "  rules:\n") {
			b.WriteString("  rules:\n")
		}
		kind := "Prefix"
		if len(words) == 4 {
			kind = words[2]
		}
		service, port, named := strings.Cut(words[len(words)-1], ":")
		what := "number: 80"
		if named && port[0] > '9' {
			what = "name: " + port
		} else if named {
			what = "number: " + port
		}
		fmt.Fprintf(&b, "  - host: %q\n    http: {paths: [{path: %q, pathType: %s, backend: {service: {name: %s, port: {%s}}}}]}\n",
			strings.TrimPrefix(words[0], "*|"), words[1], kind, service, what)
	}
	return strings.ReplaceAll(b.String(), `host: "*"`, `host: ""`)
}

// put enters Ingresses, each a second younger than the one before it, and returns their names.
func (c *cluster) put(t testing.TB, texts ...string) []types.NamespacedName {
	t.Helper()
	var list []types.NamespacedName
	for _, text := range texts {
		ing := parse(t, text)
		ing.CreationTimestamp.Time = ing.CreationTimestamp.Add(seconds(1000 + len(c.ingresses)))
		c.ingresses[api.Name(ing)] = ing
		list = append(list, api.Name(ing))
	}
	return list
}

// serve makes the entries of some Ingresses.
func serve(t testing.TB, c *cluster, texts ...string) *Builder {
	t.Helper()
	b := NewBuilder(c.world(), DefaultPorts)
	b.Update(Changes{Ingresses: c.put(t, texts...)})
	return b
}

// asked is a request.
type asked struct {
	header http.Header
	cookie map[string]string
}

func (a asked) Header(name string) (string, bool) {
	v := a.header[name]
	return strings.Join(v, ","), len(v) > 0
}
func (a asked) Parameter(string) (string, bool)   { return "", false }
func (a asked) Cookie(name string) (string, bool) { v, is := a.cookie[name]; return v, is }
func (b *Builder) table(scheme string) *route.Hosts {
	plain, secure := b.Entries()
	if scheme == "https" {
		return secure.Listeners[len(secure.Listeners)-1].Hosts
	}
	return plain.Listeners[0].Hosts
}

// rule is the rule that a request for an address meets; nil: 404.
func (b *Builder) rule(t testing.TB, address string, a asked) *route.Rule {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	path, ok := route.NormalPath(u.EscapedPath())
	if !ok {
		t.Fatalf("%s has no path", address)
	}
	return b.table(u.Scheme).Find(&route.Request{Host: u.Hostname(), Method: "GET", Path: path, Values: a})
}

// ask says in a few words what becomes of a request.
func (b *Builder) ask(t testing.TB, address string, pairs ...string) string {
	t.Helper()
	a := asked{http.Header{}, map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if name, is := strings.CutPrefix(pairs[i], "cookie:"); is {
			a.cookie[name] = pairs[i+1]
		} else {
			a.header.Set(pairs[i], pairs[i+1])
		}
	}
	return outcome(b.rule(t, address, a))
}

func outcome(r *route.Rule) string {
	if r == nil {
		return "404"
	}
	switch a := &r.Action; {
	case a.Respond != nil:
		return fmt.Sprint(a.Respond.Status)
	case a.Redirect != nil:
		to := a.Redirect.URL + a.Redirect.Scheme
		if a.Redirect.Host != "" {
			to += "//" + a.Redirect.Host
		}
		if a.Redirect.Path != nil {
			to += *a.Redirect.Path.Full
		}
		return fmt.Sprintf("%d %s", a.Redirect.Status, to)
	default:
		var list []string
		for _, to := range a.Backends {
			text := fmt.Sprintf("%s:%d", to.Service.Name, to.Port)
			if to.Broken != "" {
				text = "broken"
			}
			if len(a.Backends) > 1 {
				text += fmt.Sprintf("*%d", to.Weight)
			}
			list = append(list, text)
		}
		return strings.Join(list, " ")
	}
}

// said are the codes of what is found about an Ingress of the namespace shop, without what only differs.
func (b *Builder) said(name string) string {
	var list []string
	for _, f := range b.Findings(types.NamespacedName{Namespace: "shop", Name: name}) {
		if f.Level > Differs {
			list = append(list, f.Code+" "+f.Where)
		}
	}
	return strings.Join(list, ", ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (c *cluster) configMap(ns, name string, data map[string]string) {
	m := &corev1.ConfigMap{Data: data}
	m.Namespace, m.Name = ns, name
	c.maps[api.Name(m)] = m
}

func (c *cluster) secret(ns, name string, data map[string][]byte) *corev1.Secret {
	s := &corev1.Secret{Data: data, Type: corev1.SecretTypeTLS}
	s.Namespace, s.Name = ns, name
	c.secrets[api.Name(s)] = s
	return s
}
