package registry_test

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
)

// ingressOf is the manifest of an Ingress named x with a specification; ingressRule is that of one with a rule, and ingressPath
// that of one with a path.
func ingressOf(spec string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: x}, spec: " + spec + "}"
}

func ingressRule(rule string) string { return ingressOf("{rules: [" + rule + "]}") }

func ingressPath(path string) string { return ingressRule("{http: {paths: [" + path + "]}}") }

const webBackend = "backend: {service: {name: web, port: {number: 80}}}"

func TestI1_I9_I13_Ingress(t *testing.T) {
	const subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com'"
	const wildcard = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
	first := "spec.rules[0].http.paths[0]"
	tests := refusals{
		{"I1", ingressOf("{}"), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"},
		{"I1 default backend alone", ingressOf("{default" + strings.Replace(webBackend, "backend", "Backend", 1) + "}"), ""},
		{"I2", ingressRule("{host: foo.example.com}"), ""},
		{"I2 upper case", ingressRule("{host: Foo.example.com}"), `spec.rules[0].host: Invalid value: "Foo.example.com": ` + subdomain},
		{"I2 address", ingressRule("{host: 192.0.2.1}"), `spec.rules[0].host: Invalid value: "192.0.2.1": must be a DNS name, not an IP address`},
		{"I2 port", ingressRule("{host: 'foo.example.com:80'}"), `spec.rules[0].host: Invalid value: "foo.example.com:80": ` + subdomain},
		{"I2 wildcard", ingressRule("{host: '*.example.com'}"), ""},
		{"I2 wildcard alone", ingressRule("{host: '*'}"), `spec.rules[0].host: Invalid value: "*": ` + wildcard},
		{"I2 wildcard inside", ingressRule("{host: 'a.*.example.com'}"), `spec.rules[0].host: Invalid value: "a.*.example.com": ` + wildcard},
		{"I3", ingressRule("{http: {paths: []}}"), "spec.rules[0].http.paths: Required value"},
		{"I4", ingressPath("{path: /, " + webBackend + "}"), first + ".pathType: Required value: pathType must be specified"},
		{"I4 unknown", ingressPath("{path: /, pathType: Regex, " + webBackend + "}"), first + `.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"`},
		{"I6", ingressPath("{pathType: ImplementationSpecific, " + webBackend + "}"), ""},
		{"I6 anything", ingressPath("{path: '/a//b/(.*)%2f', pathType: ImplementationSpecific, " + webBackend + "}"), ""},
		{"I6 relative", ingressPath("{path: a, pathType: ImplementationSpecific, " + webBackend + "}"), first + `.path: Invalid value: "a": must be an absolute path`},
		{"I7", ingressPath("{path: /, pathType: Exact, backend: {}}"), first + `.backend: Invalid value: "": resource or service backend is required`},
		{"I7 both", ingressPath("{path: /, pathType: Exact, backend: {service: {name: web, port: {number: 80}}, resource: {kind: A, name: a}}}"), first + `.backend: Invalid value: "": cannot set both resource and service backends`},
		{"I7 resource", ingressPath("{path: /, pathType: Exact, backend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: a}}}"), ""},
		{"I7 resource without a name", ingressPath("{path: /, pathType: Exact, backend: {resource: {apiGroup: A_b, kind: 'a/b'}}}"), first + ".backend.resource.name: Required value"},
		{"I8 name", ingressPath("{path: /, pathType: Exact, backend: {service: {port: {number: 80}}}}"), first + ".backend.service.name: Required value"},
		{"I8 bad name", ingressPath("{path: /, pathType: Exact, backend: {service: {name: A, port: {number: 80}}}}"), first + `.backend.service.name: Invalid value: "A": a lowercase RFC 1123 label must consist of`},
		{"I8 port", ingressPath("{path: /, pathType: Exact, backend: {service: {name: web}}}"), first + ".backend: Required value: port name or number is required"},
		{"I8 both ports", ingressPath("{path: /, pathType: Exact, backend: {service: {name: web, port: {name: http, number: 80}}}}"), first + `.backend: Invalid value: "": cannot set both port name & port number`},
		{"I8 number", ingressPath("{path: /, pathType: Exact, backend: {service: {name: web, port: {number: 65536}}}}"), first + ".backend.service.port.number: Invalid value: 65536: must be between 1 and 65535, inclusive"},
		{"I8 port name", ingressPath("{path: /, pathType: Exact, backend: {service: {name: web, port: {name: http_x}}}}"), first + `.backend.service.port.name: Invalid value: "http_x"`},
		{"I9", ingressOf("{default" + strings.Replace(webBackend, "backend", "Backend", 1) + ", tls: [{hosts: ['*.example.com', a.example.com], secretName: cert}, {}]}"), ""},
		{"I9 host", ingressOf("{default" + strings.Replace(webBackend, "backend", "Backend", 1) + ", tls: [{hosts: [A]}]}"), `spec.tls[0].hosts[0]: Invalid value: "A": ` + subdomain},
		{"I9 secret", ingressOf("{default" + strings.Replace(webBackend, "backend", "Backend", 1) + ", tls: [{secretName: A}]}"), `spec.tls[0].secretName: Invalid value: "A": ` + subdomain},
		{"I13", ingressOf("{ingressClassName: nobody, tls: [{secretName: nowhere}], rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: nowhere, port: {name: none}}}}]}}]}"), ""},
		{"class name", ingressOf("{ingressClassName: A, default" + strings.Replace(webBackend, "backend", "Backend", 1) + "}"), `spec.ingressClassName: Invalid value: "A": ` + subdomain},
	}
	for _, kind := range []string{"Exact", "Prefix"} {
		for path, want := range map[string]string{
			"": "must be an absolute path", "a": "must be an absolute path", "/a//b": "must not contain '//'", "/a/./b": "must not contain '/./'", "/a/../b": "must not contain '/../'",
			"/a%2fb": "must not contain '%2f'", "/a%2Fb": "must not contain '%2F'", "/a/..": "cannot end with '/..'", "/a/.": "cannot end with '/.'", "/a/": "", "/": "",
		} {
			test := struct{ id, manifest, want string }{"I5 " + kind + " " + path, ingressPath("{path: '" + path + "', pathType: " + kind + ", " + webBackend + "}"), want}
			if want != "" {
				test.want = first + `.path: Invalid value: "` + path + `": ` + want
			}
			tests = append(tests, test)
		}
	}
	tests.run(t, start(t))
}

func TestI11_IngressClass(t *testing.T) {
	class := func(spec string) string {
		return "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: x}, spec: " + spec + "}"
	}
	s := start(t)
	refusals{
		{"I11", class("{controller: example.com/a}"), ""},
		{"I11 none", class("{}"), "spec.controller: Required value"},
		{"I11 no domain", class("{controller: nginx}"), `spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")`},
		{"I11 long", class("{controller: example.com/" + strings.Repeat("a", 250) + "}"), "spec.controller: Too long: may not be more than 250 bytes"},
		{"I11 parameters", class("{controller: example.com/a, parameters: {apiGroup: example.com, kind: P, name: p}}"), ""},
		{"I11 parameters without kind", class("{controller: example.com/a, parameters: {name: p}}"), "spec.parameters.kind: Required value"},
		{"I11 scope", class("{controller: example.com/a, parameters: {kind: P, name: p, scope: Node}}"), `spec.parameters.scope: Unsupported value: "Node": supported values: "Cluster", "Namespace"`},
		{"I11 namespace", class("{controller: example.com/a, parameters: {kind: P, name: p, scope: Namespace}}"), "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"},
		{"I11 namespace given", class("{controller: example.com/a, parameters: {kind: P, name: p, scope: Namespace, namespace: a}}"), ""},
		{"I11 bad namespace", class("{controller: example.com/a, parameters: {kind: P, name: p, scope: Namespace, namespace: A}}"), `spec.parameters.namespace: Invalid value: "A"`},
		{"I11 cluster", class("{controller: example.com/a, parameters: {kind: P, name: p, namespace: a}}"), "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"},
	}.run(t, s)
	s.must(t, class("{controller: example.com/a, parameters: {apiGroup: example.com, kind: P, name: p}}"), "create", "-f", "-")
	if got := s.must(t, "", "get", "ingressclass", "x", "-o", "jsonpath={.spec.parameters.scope} {.metadata.generation}"); got != "Cluster 1" {
		t.Errorf("defaults: %s", got)
	}
	columns(t, s.must(t, "", "get", "ingressclass"), "NAME CONTROLLER PARAMETERS AGE", "x example.com/a P.example.com/p *")
	s.must(t, "", "patch", "ingressclass", "x", "-p", `{"spec":{"parameters":null}}`)
	columns(t, s.must(t, "", "get", "ingressclass"), "NAME CONTROLLER PARAMETERS AGE", "x example.com/a <none> *")
	if got := s.must(t, "", "get", "ingressclass", "x", "-o", "jsonpath={.metadata.generation}"); got != "2" {
		t.Errorf("generation %s after a change", got)
	}
	if stderr := s.refused(t, "", "patch", "ingressclass", "x", "-p", `{"spec":{"controller":"example.com/b"}}`); !strings.Contains(stderr, `spec.controller: Invalid value: "example.com/b": field is immutable`) {
		t.Error(stderr)
	}
	if got := s.must(t, "", "describe", "ingressclass", "x"); !strings.Contains(got, "Controller:   example.com/a") {
		t.Error(got)
	}
}

func TestI10_ClassAnnotation(t *testing.T) {
	s := start(t)
	manifest := func(annotation, class string) string {
		return "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, annotations: {kubernetes.io/ingress.class: " + annotation + "}}, spec: {" + class + "rules: [{host: a.example.com}]}}"
	}
	refusals{
		{"I10", manifest("a", "ingressClassName: b, "), "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified"},
		{"I10 agree", manifest("a", "ingressClassName: a, "), ""},
	}.run(t, s)
	if stdout, stderr, err := s.kubectl(t, manifest("a", ""), "create", "-f", "-"); err != nil || !strings.Contains(stderr, `Warning: annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead`) {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if _, stderr, err := s.kubectl(t, "", "patch", "ingress", "a", "-p", `{"spec":{"ingressClassName":"b"}}`); err != nil || strings.Contains(stderr, "Warning") {
		t.Errorf("on an update both may be there: %v %s", err, stderr)
	}
}

// TestI12_IngressStatus: a generation counts changes of the specification, and the status is written on its own.
func TestI12_IngressStatus(t *testing.T) {
	s := start(t)
	api := s.NetworkingV1().Ingresses("default")
	made := parse[networkingv1.Ingress](t, ingressPath("{path: /, pathType: Prefix, "+webBackend+"}"))
	addressed := networkingv1.IngressStatus{LoadBalancer: networkingv1.IngressLoadBalancerStatus{Ingress: []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.9"}, {Hostname: "lb.example.com"}}}}
	made.Status = addressed
	ing, err := api.Create(t.Context(), made, metav1.CreateOptions{})
	if err != nil || ing.Generation != 1 || len(ing.Status.LoadBalancer.Ingress) != 0 {
		t.Fatalf("created: %v, %v", ing, err)
	}
	ing.Status, ing.Spec.IngressClassName, ing.Labels = addressed, ptr.To("ignored"), map[string]string{"kept": "yes"}
	if ing, err = api.UpdateStatus(t.Context(), ing, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(ing.Status.LoadBalancer.Ingress) != 2 || ing.Spec.IngressClassName != nil || ing.Generation != 1 {
		t.Errorf("after the status was written: %v", ing)
	}
	ing.Status, ing.Spec.IngressClassName = networkingv1.IngressStatus{}, ptr.To("b")
	if ing, err = api.Update(t.Context(), ing, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(ing.Status.LoadBalancer.Ingress) != 2 || *ing.Spec.IngressClassName != "b" || ing.Generation != 2 {
		t.Errorf("after the specification was written: %v", ing)
	}
	for patch, want := range map[string]string{
		`{"ip":"192.0.2.300"}`:     `status.loadBalancer.ingress[0].ip: Invalid value: "192.0.2.300": must be a valid IP address`,
		`{"hostname":"192.0.2.1"}`: `status.loadBalancer.ingress[0].hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address`,
		`{"hostname":"A"}`:         `status.loadBalancer.ingress[0].hostname: Invalid value: "A"`,
	} {
		_, err := api.Patch(t.Context(), "x", types.MergePatchType, []byte(`{"status":{"loadBalancer":{"ingress":[`+patch+`]}}}`), metav1.PatchOptions{}, "status")
		if !strings.HasPrefix(complaint(err), want) {
			t.Errorf("%s: %v, want %s", patch, err, want)
		}
	}
}

// TestI20_I21_DefaultClass: an Ingress that names no class gets the newest default one, once, when it is created.
func TestI20_I21_DefaultClass(t *testing.T) {
	s := start(t)
	class := func(name, marked string) {
		t.Helper()
		s.must(t, "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: "+name+", annotations: {ingressclass.kubernetes.io/is-default-class: '"+marked+"'}}, spec: {controller: example.com/a}}", "create", "-f", "-")
	}
	makes := func(name, more, want string) {
		t.Helper()
		s.must(t, "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: "+name+more+"}, spec: {rules: [{host: a.example.com}]}}", "create", "-f", "-")
		if got := s.must(t, "", "get", "ingress", name, "-o", "jsonpath={.spec.ingressClassName}"); got != want {
			t.Errorf("%s has class %q, want %q", name, got, want)
		}
	}
	makes("before", "", "")
	class("plain", "false")
	makes("unmarked", "", "")
	class("b", "true")
	makes("one", "", "b")
	makes("annotated", ", annotations: {kubernetes.io/ingress.class: old}", "")
	class("a", "true") // newer, or in the same second first by name
	makes("newest", "", "a")
	s.must(t, "", "patch", "ingress", "before", "-p", `{"metadata":{"labels":{"touched":"yes"}}}`)
	if got := s.must(t, "", "get", "ingress", "before", "-o", "jsonpath={.spec.ingressClassName}"); got != "" {
		t.Errorf("I21: an update gave it class %q", got)
	}
}

func TestIngressByKubectl(t *testing.T) {
	s := start(t)
	s.must(t, "", "create", "ingress", "shop", "--class=fairlead", "--rule=shop.example.com/cart*=cart:80,tls=shop-cert", "--rule=shop.example.com/=web:http", "--default-backend=web:80")
	s.must(t, ingressOf("{rules: [{host: a.example.com}, {host: b.example.com}, {host: c.example.com}, {host: d.example.com}, {}]}"), "create", "-f", "-")
	s.must(t, "", "patch", "ingress", "x", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.2"},{"ip":"192.0.2.1"},{"hostname":"lb.example.com"}]}}}`)
	columns(t, s.must(t, "", "get", "ing"), "NAME CLASS HOSTS ADDRESS PORTS AGE",
		"shop fairlead shop.example.com 80, 443 *",
		"x <none> a.example.com,b.example.com,c.example.com + 2 more... 192.0.2.1,192.0.2.2,lb.example.com 80 *")
	got := s.must(t, "", "describe", "ingress", "shop")
	for _, want := range []string{"Ingress Class:    fairlead", "shop-cert terminates shop.example.com", "/cart   cart:80", "/       web:http", "Default backend:  web:80"} {
		if !strings.Contains(got, want) {
			t.Errorf("describe lacks %q:\n%s", want, got)
		}
	}
	if got := s.must(t, "", "explain", "ingress.spec.rules.http.paths.pathType"); !strings.Contains(got, "pathType") {
		t.Error(got)
	}
}

// TestIngressEdit: kubectl edit, whose editor is told what to replace.
func TestIngressEdit(t *testing.T) {
	s := start(t)
	s.must(t, "", "create", "ingress", "shop", "--rule=shop.example.com/=web:80")
	t.Setenv("KUBE_EDITOR", "sed -i s/shop.example.com/new.example.com/")
	s.must(t, "", "edit", "ingress", "shop")
	if got := s.must(t, "", "get", "ingress", "shop", "-o", "jsonpath={.spec.rules[0].host} {.metadata.generation}"); got != "new.example.com 2" {
		t.Errorf("after the edit: %s", got)
	}
}

// TestIngressOperations: what upstream's conformance tests of both kinds do, beside what the others of this file do.
func TestIngressOperations(t *testing.T) {
	s := start(t)
	ingresses, classes, ctx := s.NetworkingV1().Ingresses("default"), s.NetworkingV1().IngressClasses(), t.Context()
	special := metav1.ListOptions{LabelSelector: "special=yes"}
	watching, err := ingresses.Watch(ctx, special)
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	watchingClasses, err := classes.Watch(ctx, special)
	if err != nil {
		t.Fatal(err)
	}
	defer watchingClasses.Stop()
	for range 3 {
		made := parse[networkingv1.Ingress](t, ingressRule("{host: a.example.com}"))
		made.Name, made.GenerateName, made.Labels = "", "e2e-", map[string]string{"special": "yes"}
		if _, err := ingresses.Create(ctx, made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: made.Labels}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/controller"}}
		if _, err := classes.Create(ctx, class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	name := (<-watching.ResultChan()).Object.(*networkingv1.Ingress).Name
	if err := s.CoreV1().RESTClient().Get().AbsPath("/apis/networking.k8s.io/v1/namespaces/default/ingresses/" + name + "/status").Do(ctx).Error(); err != nil {
		t.Errorf("its status: %v", err)
	}
	if all, err := s.NetworkingV1().Ingresses("").List(ctx, special); err != nil || len(all.Items) != 3 {
		t.Errorf("of all namespaces: %v, %v", all, err)
	}
	if err := ingresses.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := ingresses.DeleteCollection(ctx, metav1.DeleteOptions{}, special); err != nil {
		t.Error(err)
	}
	if err := classes.DeleteCollection(ctx, metav1.DeleteOptions{}, special); err != nil {
		t.Error(err)
	}
	for what, w := range map[string]watch.Interface{"ingresses": watching, "classes": watchingClasses} {
		for gone := 0; gone < 3; {
			if (<-w.ResultChan()).Type == watch.Deleted {
				gone++
			}
		}
		t.Logf("all %s are gone", what)
	}
}

// TestIngressApply: server-side apply gives a manager no ownership of what its endpoint ignores.
func TestIngressApply(t *testing.T) {
	config := apitest.Start(t)
	s := connect(t, rest.CopyConfig(config))
	manifest := strings.TrimSuffix(ingressPath("{path: /, pathType: Prefix, "+webBackend+"}"), "}") + ", status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}"
	s.must(t, manifest, "apply", "--server-side", "--field-manager=one", "-f", "-")
	s.must(t, manifest, "apply", "--server-side", "--field-manager=two", "--subresource=status", "-f", "-")
	ing, err := s.NetworkingV1().Ingresses("default").Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil || len(ing.Status.LoadBalancer.Ingress) != 1 {
		t.Fatal(ing, err)
	}
	for _, m := range ing.ManagedFields {
		fields := string(m.FieldsV1.GetRawBytes())
		if spec, status := strings.Contains(fields, "f:spec"), strings.Contains(fields, "f:status"); spec != (m.Manager == "one") || status != (m.Manager == "two") {
			t.Errorf("%s owns %s", m.Manager, fields)
		}
	}
}
