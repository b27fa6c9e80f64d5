package ingress

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// dump is all that a Builder serves and says, as text.
func dump(t *testing.T, b *Builder) string {
	t.Helper()
	var out strings.Builder
	plain, secure := b.Entries()
	for _, e := range []*route.Entry{plain, secure} {
		l := e.Listeners[0]
		hosts := map[string]*route.Host{}
		for h := range l.Hosts.Each {
			hosts[h.Name] = h
		}
		for _, name := range slices.Sorted(maps.Keys(hosts)) {
			text, err := json.Marshal(hosts[name])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%d %s\n", e.Port, text)
		}
		if l.TLS != nil {
			fmt.Fprintln(&out, l.TLS.Certificates)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(b.parts), api.CompareNames) {
		fmt.Fprintln(&out, name, b.Served(name), b.Findings(name))
	}
	return out.String()
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// someIngress is an Ingress of a small world, in which many name the same.
func someIngress(t *testing.T, r *rand.Rand, name string) *networkingv1.Ingress {
	t.Helper()
	annotations := map[string]string{}
	for range r.IntN(4) {
		pair := pick(r, [][2]string{
			{"rewrite-target", "/$1"}, {"use-regex", "true"}, {"app-root", "/app"}, {"server-alias", "b.x,c.x"}, {"server-alias", "www.a.x"},
			{"from-to-www-redirect", "true"}, {"ssl-redirect", "true"}, {"force-ssl-redirect", "true"}, {"canary", "true"}, {"canary-weight", "10"},
			{"canary-by-header", "X-New"}, {"auth-type", "digest"}, {"permanent-redirect", "https://z.x/"}, {"nonsense", "x"}, {"backend-protocol", "HTTPS"},
			{"auth-url", "http://old.shop.svc/"},
		}...)
		annotations[pair[0]] = pair[1]
	}
	var rules []string
	for range r.IntN(4) {
		rules = append(rules, strings.Join([]string{pick(r, "a.x", "www.a.x", "b.x", "*.x", "*"), pick(r, "/", "/a", "/a/", "/a/b", "/(a|b)", "/a.*"),
			pick(r, "Prefix", "Exact", "ImplementationSpecific"), pick(r, "web", "api", "old", "none:8080", "web:admin")}, " "))
	}
	if len(rules) == 0 || r.IntN(4) == 0 {
		rules = append([]string{"default web:80"}, rules...)
	}
	text := one(name, annotations, rules...)
	if r.IntN(3) == 0 {
		text += fmt.Sprintf("  tls: [{hosts: [%s], secretName: %s}]\n", pick(r, "a.x", "b.x", "'*.x'", ""), pick(r, "one", "two"))
	}
	ing := parse(t, text)
	ing.Namespace = pick(r, "shop", "shop", "other")
	class := pick(r, "fairlead", "fairlead", ClassNginx, "other", "late")
	ing.Spec.IngressClassName = &class
	ing.CreationTimestamp.Time = ing.CreationTimestamp.Add(seconds(1000 + r.IntN(5)))
	return ing
}

// TestIncrementalIsAsFromScratch: whatever changes in whatever order, a Builder serves and says what one does that is made now.
func TestIncrementalIsAsFromScratch(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 7))
		c := newCluster()
		b := NewBuilder(c.world(), DefaultPorts)
		for range 15 {
			var changes Changes
			for range 1 + r.IntN(3) {
				switch r.IntN(8) {
				case 0:
					name := types.NamespacedName{Namespace: "shop", Name: pick(r, "web", "none", "old")}
					if delete(c.services, name); r.IntN(2) == 0 {
						c.service(name.Namespace, name.Name, corev1.ServicePort{Name: pick(r, "http", "admin"), Port: 8080})
					}
					changes.Services = append(changes.Services, name)
				case 1:
					if c.classes["late"] == nil {
						c.classes["late"] = c.classes[pick(r, "fairlead", "other")]
					} else {
						delete(c.classes, "late")
					}
					changes.Classes = append(changes.Classes, "late")
				case 2:
					for name := range c.ingresses {
						delete(c.ingresses, name)
						changes.Ingresses = append(changes.Ingresses, name)
						break
					}
				default:
					ing := someIngress(t, r, pick(r, "a", "b", "c", "d", "e"))
					c.ingresses[api.Name(ing)] = ing
					changes.Ingresses = append(changes.Ingresses, api.Name(ing))
				}
			}
			before, said := dump(t, b), findingsOf(b)
			done := b.Update(changes)
			scratch := NewBuilder(c.world(), DefaultPorts)
			scratch.Update(Changes{Ingresses: slices.Collect(maps.Keys(c.ingresses))})
			now, want := dump(t, b), dump(t, scratch)
			if now != want {
				t.Fatalf("seed %d, after %+v:\n%s\nwant\n%s\nbefore\n%s", seed, changes, now, want, before)
			}
			for name, is := range findingsOf(b) {
				if is != said[name] && !slices.Contains(done.Ingresses, name) {
					t.Fatalf("seed %d: %s says %s now, and that was not told", seed, name, is)
				}
			}
		}
	}
}

func findingsOf(b *Builder) map[types.NamespacedName]string {
	all := map[types.NamespacedName]string{}
	for name := range b.parts {
		all[name] = fmt.Sprint(b.Findings(name))
	}
	return all
}

// FuzzAnnotations: no value of any annotation, nor any path, breaks anything, and each is answered for.
func FuzzAnnotations(f *testing.F) {
	for name, values := range wrongs {
		for _, value := range values {
			f.Add(name, value, "/x")
		}
	}
	for name, cases := range effects {
		f.Add(name, cases[0].value, "/(a)(b)")
	}
	f.Fuzz(func(t *testing.T, name, value, path string) {
		c := newCluster()
		ing := parse(t, one("a", map[string]string{"canary-by-header": "X"}, "a.x / ImplementationSpecific web"))
		ing.Annotations[Prefix+name] = value
		ing.Spec.Rules[0].HTTP.Paths[0].Path = path
		c.ingresses[api.Name(ing)] = ing
		lines := Annotations(ing)
		if !slices.ContainsFunc(lines, func(l Line) bool { return l.Annotation == name }) {
			t.Fatalf("%q: nothing is said", name)
		}
		for _, l := range lines {
			if l.Level > Same && l.Text == "" || len(l.Text) > 2000 {
				t.Fatalf("%+v", l)
			}
		}
		b := NewBuilder(c.world(), DefaultPorts)
		b.Update(Changes{Ingresses: []types.NamespacedName{api.Name(ing)}})
		if r := b.table("http").Find(&route.Request{Host: "a.x", Method: "GET", Path: "/ab", Values: asked{}}); r != nil && all[name] != nil && all[name].guard {
			if s, _ := read(ing); s.closed != "" && !s.canary.on && r.Action.Respond == nil {
				t.Fatalf("%s: %q is wrong, and what it guards is open", name, value)
			}
		}
		b.Findings(api.Name(ing))
	})
}

// many are Ingresses of a host each.
func many(t testing.TB, n int) (*cluster, []types.NamespacedName) {
	c := newCluster()
	var names []types.NamespacedName
	ing := parse(t, one("i", map[string]string{"proxy-body-size": "8m", "proxy-read-timeout": "60"}, "a.x / web")+"  tls: [{hosts: [a.x], secretName: s}]\n")
	for i := range n {
		one := ing.DeepCopy()
		one.Name = fmt.Sprint("i", i)
		host := fmt.Sprintf("h%d.example.org", i)
		one.Spec.Rules[0].Host, one.Spec.TLS[0].Hosts[0], one.Spec.TLS[0].SecretName = host, host, one.Name
		c.ingresses[api.Name(one)] = one
		names = append(names, api.Name(one))
	}
	return c, names
}

// TestMemoryOfARoute: a route with its certificate costs at most 8 kB, with all that a Builder keeps.
func TestMemoryOfARoute(t *testing.T) {
	const n = 5000
	c, names := many(t, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := NewBuilder(c.world(), DefaultPorts)
	b.Update(Changes{Ingresses: names})
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	t.Logf("%d bytes a route", each)
	if each > 8<<10 {
		t.Errorf("a route costs %d bytes", each)
	}
	runtime.KeepAlive(b)
}

func BenchmarkChange(b *testing.B) {
	c, names := many(b, 10_000)
	builder := NewBuilder(c.world(), DefaultPorts)
	builder.Update(Changes{Ingresses: names})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		builder.Update(Changes{Ingresses: names[i%len(names) : i%len(names)+1]})
	}
}

func BenchmarkNewCertificate(b *testing.B) {
	c, names := many(b, 10_000)
	builder := NewBuilder(c.world(), DefaultPorts)
	builder.Update(Changes{Ingresses: names})
	for i := 0; b.Loop(); i++ {
		name := names[i%len(names)]
		ing := c.ingresses[name].DeepCopy()
		ing.Spec.TLS[0].SecretName += "x"
		c.ingresses[name] = ing
		builder.Update(Changes{Ingresses: []types.NamespacedName{name}})
	}
}

func BenchmarkAll(b *testing.B) {
	c, names := many(b, 10_000)
	for b.Loop() {
		NewBuilder(c.world(), DefaultPorts).Update(Changes{Ingresses: names})
	}
}

// BenchmarkChangeOfManyPaths changes one of many Ingresses that share a host.
func BenchmarkChangeOfManyPaths(b *testing.B) {
	c, names := many(b, 10_000)
	for i, name := range names {
		c.ingresses[name].Spec.TLS = nil
		rule := &c.ingresses[name].Spec.Rules[0]
		rule.Host, rule.HTTP.Paths[0].Path = "a.x", fmt.Sprint("/api/v1/", i)
	}
	builder := NewBuilder(c.world(), DefaultPorts)
	builder.Update(Changes{Ingresses: names})
	for i := 0; b.Loop(); i++ {
		builder.Update(Changes{Ingresses: names[i%len(names) : i%len(names)+1]})
	}
}
