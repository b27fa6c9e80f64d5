package healthcheck

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/probe"
)

func service(annotations ...string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "default", Annotations: map[string]string{}}}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "mysql", Port: 3306}, {Name: "admin", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	for i := 0; i < len(annotations); i += 2 {
		svc.Annotations[annotations[i]] = annotations[i+1]
	}
	return svc
}

// object reads "1 !2 3 | unhealthy" as 192.0.2.1 and .3 ready, .2 not, all with port 3306, and what the annotation lists.
func object(text string) *corev1.Endpoints {
	hosts, marks, _ := strings.Cut(text, "|")
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "db"}}
	subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "mysql", Port: 3306, Protocol: corev1.ProtocolTCP}}}
	for _, h := range strings.Fields(hosts) {
		if host, not := strings.CutPrefix(h, "!"); not {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, corev1.EndpointAddress{IP: "192.0.2." + host})
		} else {
			subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: "192.0.2." + h})
		}
	}
	ep.Subsets = []corev1.EndpointSubset{subset}
	setEjected(ep, set(marks))
	return ep
}

// handSlice is the same as a slice.
func handSlice(text string) *discoveryv1.EndpointSlice {
	ep := object(text)
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "db-1", Annotations: ep.Annotations}, AddressType: discoveryv1.AddressTypeIPv4}
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("mysql"), Port: ptr.To[int32](3306)}}
	for ready, list := range map[bool][]corev1.EndpointAddress{true: ep.Subsets[0].Addresses, false: ep.Subsets[0].NotReadyAddresses} {
		for _, a := range list {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.IP}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready)}})
		}
	}
	return s
}

// set reads the last numbers of addresses as names of endpoints.
func set(text string) map[string]bool {
	names := map[string]bool{}
	for _, h := range strings.Fields(text) {
		names["192.0.2."+h+":3306"] = true
	}
	return names
}

// show is the notation that object reads, sorted within each list.
func show(endpoints []Endpoint, marks map[string]bool) string {
	var out []string
	for host := range 10 {
		for _, s := range endpoints {
			if s.Addr == netip.AddrFrom4([4]byte{192, 0, 2, byte(host)}) {
				out = append(out, map[bool]string{true: "", false: "!"}[s.Ready]+fmt.Sprint(host))
			}
		}
	}
	out = append(out, "|")
	for host := range 10 {
		if marks[fmt.Sprintf("192.0.2.%d:3306", host)] {
			out = append(out, fmt.Sprint(host))
		}
	}
	return strings.Join(out, " ")
}

func TestRewrite(t *testing.T) {
	for _, test := range []struct{ name, before, out, after string }{
		{"all answer", "1 2", "", ""},
		{"one fails", "1 2", "2", "1 !2 | 2"},
		{"all fail", "1 2", "1 2", "!1 !2 | 1 2"},
		{"still failing", "1 !2 | 2", "2", ""},
		{"it comes back", "1 !2 | 2", "", "1 2 |"},
		{"a person's own stays", "1 !2 !3 | 2", "", "1 2 !3 |"},
		{"a person's own stays beside ours", "1 !3", "1", "!1 !3 | 1"},
		{"applied again, from memory", "1 2 | 2", "2", "1 !2 | 2"},
		{"applied again, answers by now", "1 2 | 2", "", "1 2 |"},
		{"an address that is gone is not listed any more", "1 | 7", "", "1 |"},
		{"the annotation edited: what is not in it is a person's", "1 !2", "2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ep, slice := object(test.before), handSlice(test.before)
			w := rewrite(View{Endpoints: ep, Slices: []*discoveryv1.EndpointSlice{slice}}, set(test.out))
			if (w.Endpoints != nil) != (test.after != "") || len(w.Slices) != map[bool]int{true: 1, false: 0}[test.after != ""] {
				t.Fatalf("written: %v %v", w.Endpoints, w.Slices)
			}
			if w.Endpoints != nil {
				if got := show(View{Endpoints: w.Endpoints}.List(), Ejected(w.Endpoints)); got != test.after {
					t.Errorf("endpoints: %s, want %s", got, test.after)
				}
				if got := show(View{Slices: w.Slices}.List(), Ejected(w.Slices[0])); got != test.after {
					t.Errorf("slice: %s, want %s", got, test.after)
				}
				if again := rewrite(View{Endpoints: w.Endpoints, Slices: w.Slices}, set(test.out)); !again.None() {
					t.Errorf("a second plan writes again: %v", again)
				}
			}
			if got := show(View{Endpoints: ep}.List(), Ejected(ep)); got != show(View{Endpoints: object(test.before)}.List(), Ejected(object(test.before))) {
				t.Errorf("the cached object was changed: %s", got)
			}
		})
	}
}

func TestSliceReadyUnset(t *testing.T) {
	slice := handSlice("1")
	slice.Endpoints[0].Conditions.Ready = nil // means ready
	w := rewrite(View{Slices: []*discoveryv1.EndpointSlice{slice}}, set("1"))
	if len(w.Slices) != 1 || *w.Slices[0].Endpoints[0].Conditions.Ready {
		t.Errorf("written: %v", w.Slices)
	}
}

func TestEjections(t *testing.T) {
	for _, test := range []struct{ name, now, failing, keep, out, kept string }{
		{"no minimum", "1 2 3", "1 2 3", "0", "1 2 3", ""},
		{"one is kept: the one that failed last", "1 2 3", "1 2 3", "1", "1 2", "3"},
		{"the one that gets traffic is kept, not the one that failed last", "1 !2 !3 | 2 3", "1 2 3", "1", "2 3", "1"},
		{"enough answer", "1 2 3", "3", "2", "3", ""},
		{"one of the failing is needed", "1 2 3", "1 2", "2", "1", "2"},
		{"what is out comes back to fill the minimum", "!1 !2 | 1 2", "1 2", "1", "1", "2"},
		{"half of three is two", "1 2 3", "1 2 3", "50%", "1", "2 3"},
		{"all of them", "1 2 3", "1 2 3", "100%", "", "1 2 3"},
		{"more than there are", "1 2", "1 2", "7", "", "1 2"},
		{"a person's own does not count", "1 !2", "1", "50%", "", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			known := map[string]health{}
			for name := range set(test.failing) { // the last number tells who failed when
				known[name] = health{failing: true, since: time.Unix(int64(name[8]), 0)}
			}
			out, kept := ejections(View{Endpoints: object(test.now)}.List(), known, intstr.Parse(test.keep))
			if fmt.Sprint(out) != fmt.Sprint(set(test.out)) || fmt.Sprint(kept) != fmt.Sprint(set(test.kept)) {
				t.Errorf("out %v, kept %v", out, kept)
			}
		})
	}
}

func TestParseSpec(t *testing.T) {
	for _, test := range []struct{ text, keep, wrong string }{
		{`{"tcpSocket":{}}`, "", ""},
		{`{"tcpSocket":{"port":3306},"periodSeconds":2}`, "1", ""},
		{"httpGet:\n  path: /healthz\n  port: admin\n  scheme: HTTPS\n", "50%", ""},
		{`{"grpc":{"port":9000,"service":"x"}}`, "", ""},
		{`{"tcpSocket":`, "", "annotation fairlead.dev/probe: "},
		{``, "", "must specify exactly one of httpGet, tcpSocket and grpc"},
		{`{"tcpSocket":{},"httpGet":{"port":80}}`, "", "must specify exactly one of"},
		{`{"exec":{"command":["true"]}}`, "", "exec: Forbidden"},
		{`{"tcpSocket":{"port":1},"periodSecond":2}`, "", `unknown field "periodSecond"`},
		{`{"tcpSocket":{"port":1},"failureThreshold":-1}`, "", "failureThreshold: Invalid value: -1: must be greater than or equal to 0"},
		{`{"tcpSocket":{"port":1},"failureThreshold":3000000000}`, "", "annotation fairlead.dev/probe: "},
		{`{"tcpSocket":{"port":1},"successThreshold":1.5}`, "", "annotation fairlead.dev/probe: "},
		{`{"tcpSocket":{"port":1},"periodSeconds":"soon"}`, "", "annotation fairlead.dev/probe: "},
		{`{"tcpSocket":{"port":1},"timeoutSeconds":301}`, "", "timeoutSeconds: Invalid value: 301: must be less than or equal to 300"},
		{`{"tcpSocket":{"port":1},"timeoutSeconds":300,"failureThreshold":2147483647}`, "", ""},
		{`[]`, "", "annotation fairlead.dev/probe: "},
		{`"tcpSocket"`, "", "annotation fairlead.dev/probe: "},
		{`null`, "", "must specify exactly one of"},
		{"tcpSocket: {}\ntcpSocket: {}", "", "already set"},
		{strings.Repeat("[", 20000), "", "annotation fairlead.dev/probe: "},
		{`{"tcpSocket":{"port":70000}}`, "", "tcpSocket.port: Invalid value: 70000: must be between 1 and 65535, inclusive"},
		{`{"httpGet":{"path":"/"}}`, "", "httpGet.port: Required value"},
		{`{"httpGet":{"port":80,"scheme":"FTP"}}`, "", `httpGet.scheme: Unsupported value: "FTP"`},
		{`{"httpGet":{"port":80,"httpHeaders":[{"name":"a b"}]}}`, "", `httpGet.httpHeaders: Invalid value: "a b"`},
		{`{"httpGet":{"port":80,"host":"other"}}`, "", "host: Forbidden"},
		{`{"grpc":{}}`, "", "grpc.port: Required value"},
		{`{"tcpSocket":{},"terminationGracePeriodSeconds":1}`, "", "terminationGracePeriodSeconds"},
		{`{"tcpSocket":{}}`, "half", "annotation fairlead.dev/probe-keep: Invalid value: \"half\""},
		{`{"tcpSocket":{}}`, "101%", "probe-keep"},
		{`{"tcpSocket":{}}`, "-1", "probe-keep"},
	} {
		annotations := map[string]string{api.AnnotationProbe: test.text}
		if test.keep != "" {
			annotations[api.AnnotationKeep] = test.keep
		}
		_, err := parseSpec(annotations)
		if (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s %s: %v, want %q", test.text, test.keep, err, test.wrong)
		}
	}
	r, err := parseSpec(map[string]string{api.AnnotationProbe: `{"tcpSocket":{}}`})
	if err != nil {
		t.Fatal(err)
	}
	if p := r.probe; p.PeriodSeconds != 10 || p.TimeoutSeconds != 1 || p.SuccessThreshold != 1 || p.FailureThreshold != 3 {
		t.Errorf("R1 defaults: %v", p)
	}
}

func TestTargets(t *testing.T) {
	ports := []port{{"mysql", 3306, true}, {"x", 33060, true}, {"dns", 53, false}}
	for _, test := range []struct {
		probe string
		ports []port
		want  string
	}{
		{`{"tcpSocket":{"port":9}}`, ports, "[192.0.2.1:9]"},
		{`{"tcpSocket":{"port":"x"}}`, ports, "[192.0.2.1:33060]"},
		{`{"tcpSocket":{"port":"admin"}}`, ports, "[192.0.2.1:8080]"}, // the Service's
		{`{"tcpSocket":{}}`, ports, "[192.0.2.1:3306 192.0.2.1:33060]"},
		{`{"tcpSocket":{}}`, nil, "[]"},
		{`{"tcpSocket":{"port":"dns"}}`, ports, "[]"},
	} {
		r, err := parseSpec(map[string]string{api.AnnotationProbe: test.probe})
		if err != nil {
			t.Fatal(err)
		}
		s := appendEndpoint(nil, "192.0.2.1", test.ports, true, nil)
		if got := fmt.Sprint(r.targets(&s[0], service())); got != test.want {
			t.Errorf("%s: %s, want %s", test.probe, got, test.want)
		}
		if err := r.fits(s, service()); (err != nil) != strings.Contains(test.probe, "dns") {
			t.Errorf("%s: %v", test.probe, err)
		}
	}
}

func TestNames(t *testing.T) {
	web := []port{{"b", 443, true}, {"a", 80, true}, {"c", 443, false}}
	for _, test := range []struct{ address, want string }{
		{"192.0.2.8", "192.0.2.8:80+443"}, {"2001:db8::1", "[2001:db8::1]:80+443"}, {"db.example", ""},
	} {
		if got, _, _ := nameOf(test.address, web); got != test.want {
			t.Errorf("%s: %q, want %q", test.address, got, test.want)
		}
	}
	if got, _, _ := nameOf("192.0.2.8", nil); got != "192.0.2.8" {
		t.Error(got)
	}
}

// TestServiceState: + and - are answers of 192.0.2.1, which is listed as now says; ! is a try that could not be made, "a" the
// manifest applied again, "d" deleted and "r" a restart of the program.
func TestServiceState(t *testing.T) {
	for _, test := range []struct{ name, probe, now, tries, want string }{
		{"R13 three failures in a row", `{"tcpSocket":{"port":3306}}`, "1", "--+---", "1 1 1 1 1 !1"},
		{"R13 one success", `{"tcpSocket":{"port":3306}}`, "1", "---+", "1 1 !1 1"},
		{"R13 two successes", `{"tcpSocket":{"port":3306},"successThreshold":2,"failureThreshold":1}`, "1", "-+-++", "!1 !1 !1 !1 1"},
		{"R12 a try that could not be made says nothing", `{"tcpSocket":{"port":3306},"failureThreshold":2}`, "1", "-!-", "1 1 !1"},
		{"applied again", `{"tcpSocket":{"port":3306},"failureThreshold":1}`, "1", "-a+", "!1 !1 1"},
		{"deleted and applied again", `{"tcpSocket":{"port":3306},"failureThreshold":1}`, "1", "-da+", "!1  !1 1"},
		{"restart", `{"tcpSocket":{"port":3306},"failureThreshold":2}`, "1", "--r-+", "1 !1 !1 !1 1"},
		{"restart does not forget what was good", `{"tcpSocket":{"port":3306},"failureThreshold":2}`, "1", "+r--", "1 1 1 !1"},
		{"applied again during a restart", `{"tcpSocket":{"port":3306}}`, "1 | 1", "-+", "!1 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := parseSpec(map[string]string{api.AnnotationProbe: test.probe})
			if err != nil {
				t.Fatal(err)
			}
			m, ep, now := newServiceState(), object(test.now), time.Unix(0, 0)
			to, got := netip.MustParseAddrPort("192.0.2.1:3306"), []string{}
			for _, what := range test.tries {
				v := View{Endpoints: ep}
				m.configure(r, test.probe)
				m.list(v.List(), service(), now)
				now = now.Add(time.Second)
				switch what {
				case '+', '-', '!':
					m.record(to, probe.Reply{OK: what == '+', Unknown: what == '!'}, now)
				case 'a':
					marks := ep.Annotations
					ep = object("1")
					ep.Annotations = marks
				case 'd':
					ep = object("")
				case 'r':
					m = newServiceState()
				}
				v = View{Endpoints: ep}
				m.configure(r, test.probe)
				m.list(v.List(), service(), now)
				out, _ := ejections(v.List(), m.health(), r.minHealthy)
				if w := rewrite(v, out); w.Endpoints != nil {
					ep = w.Endpoints
				}
				line, _, _ := strings.Cut(show(View{Endpoints: ep}.List(), nil), "|")
				got = append(got, strings.TrimSpace(line))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%s gives %q, want %q", test.tries, strings.Join(got, " "), test.want)
			}
		})
	}
}

func TestChooseProber(t *testing.T) {
	key := types.NamespacedName{Namespace: "default", Name: "db"}
	nodes := map[string]*corev1.Node{"n1": {}, "n2": {}, "n3": {}}
	first := chooseProber(key, "", nodes, nil)
	if again := chooseProber(key, first, nodes, nil); first == "" || again != first {
		t.Fatalf("%q, then %q", first, again)
	}
	second := chooseProber(key, first, nodes, map[string]bool{first: true})
	if second == first || second == "" {
		t.Errorf("%q does not answer, and %q takes over", first, second)
	}
	if got := chooseProber(key, second, nodes, nil); got != second {
		t.Errorf("%q has taken over and gives back to %q", second, got)
	}
	delete(nodes, second)
	if got := chooseProber(key, second, nodes, nil); got != first {
		t.Errorf("%q, want %q", got, first)
	}
	if got := chooseProber(key, first, nodes, map[string]bool{"n1": true, "n2": true, "n3": true}); nodes[got] == nil {
		t.Errorf("%q: when none answers one is asked all the same", got)
	}
	if got := chooseProber(key, first, nil, nil); got != "" {
		t.Errorf("%q without nodes", got)
	}
	counts := map[string]int{}
	for i := range 300 {
		counts[chooseProber(types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", i)}, "", map[string]*corev1.Node{"n1": {}, "n2": {}, "n3": {}}, nil)]++
	}
	for node, n := range counts {
		if n < 60 || n > 140 {
			t.Errorf("%s probes for %d of 300 Services", node, n)
		}
	}
}

// TestEventsAreCounted: a rack that fails is not a hundred events.
func TestEventsAreCounted(t *testing.T) {
	w := Writes{Ejected: map[string]bool{}}
	for i := range 20 {
		w.Ejected[fmt.Sprintf("192.0.2.%d:3306", i)] = true
	}
	got := changes(w, newServiceState(), nil, "")
	if last := got[len(got)-1]; len(got) != 9 || last.Message != "12 more endpoints failed their probe; they get no traffic" {
		t.Errorf("%d events, the last: %s", len(got), last.Message)
	}
}
