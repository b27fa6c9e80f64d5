package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

var then = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func web() corev1.Service {
	return corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.5", ClusterIPs: []string{"10.96.0.5"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}}
}

// reportOf is what a node says about web: when it was programmed, and connections to an endpoint.
func reportOf(node string, programmed time.Time, connections map[string]uint64) Report {
	r := NewReport(node, SyncLag{Updated: then}, nil, []types.NamespacedName{{Namespace: "default", Name: "web"}},
		func(types.NamespacedName) time.Time { return programmed })
	var all []Connections
	for at, n := range connections {
		all = append(all, Connections{types.NamespacedName{Namespace: "default", Name: "web"}, "http", netip.MustParseAddrPort(at), n})
	}
	all = append(all, Connections{types.NamespacedName{Namespace: "default", Name: "gone"}, "", netip.MustParseAddrPort("10.0.0.1:1"), 7})
	r.Count(all)
	return r
}

func TestSummarize(t *testing.T) {
	late := then.Add(time.Minute)
	one := slice(endpoint("10.244.1.2", "n1", true, false), endpoint("10.244.2.2", "n2", false, false), endpoint("10.244.2.3", "n2", false, true))
	got := Summarize([]corev1.Service{web()}, []discoveryv1.EndpointSlice{*one}, []Report{
		reportOf("n1", then, map[string]uint64{"10.244.1.2:80": 3, "10.244.9.9:80": 2}),
		reportOf("n2", late, map[string]uint64{"10.244.1.2:80": 4}),
		reportOf("n3", time.Time{}, nil),
	}, []string{"n4"})
	if len(got) != 1 {
		t.Fatalf("%d Services", len(got))
	}
	o := got[0]
	if o.Ready != 1 || o.Total != 3 {
		t.Errorf("%d/%d ready, want 1/3: two ports of a pod are one endpoint", o.Ready, o.Total)
	}
	if o.Connections != 9 || !o.Since.Equal(late) || fmt.Sprint(o.Nodes, o.Missing) != "[n1 n2] [n3 n4]" {
		t.Errorf("got %+v", o)
	}
	var lines []string
	for _, e := range o.Endpoints {
		lines = append(lines, fmt.Sprint(e.Address, " ", e.Node, " ", e.State, " ", e.Connections))
	}
	want := []string{"10.244.1.2:80 n1 ready 7", "10.244.1.2:443 n1 ready 0", "10.244.2.2:80 n2 not ready 0", "10.244.2.2:443 n2 not ready 0",
		"10.244.2.3:80 n2 terminating 0", "10.244.2.3:443 n2 terminating 0"}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("endpoints\n%v\nwant\n%v", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestSummarizeKinds(t *testing.T) {
	headless, external, dual, another := web(), web(), web(), web()
	another.Labels = map[string]string{api.LabelServiceProxyName: "theirs"}
	headless.Spec.ClusterIP, headless.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
	external.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}
	dual.Spec.ClusterIPs = []string{"fd00::5", "10.96.0.5"}
	dual.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
	dual.Spec.ExternalIPs = []string{"203.0.113.1"}
	dual.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.2"}, {Hostname: "lb"}}
	six := slice(endpoint("fd00::2", "n1", true, false))
	six.AddressType = discoveryv1.AddressTypeIPv6
	bare := discoveryv1.EndpointSlice{ObjectMeta: slice().ObjectMeta, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.1.2"}}, {NodeName: ptr.To("n1")}}}
	for name, c := range map[string]struct {
		svc    corev1.Service
		slices []discoveryv1.EndpointSlice
		want   string
	}{
		"headless":        {headless, []discoveryv1.EndpointSlice{bare}, "[None] 1/1 needed false missing []"},
		"ExternalName":    {external, nil, "[example.com] 0/0 needed false missing []"},
		"another proxy's": {another, nil, "[10.96.0.5] 0/0 needed false missing [] by theirs"},
		"both families": {dual, []discoveryv1.EndpointSlice{*six, *slice(endpoint("10.244.1.2", "n1", true, false))},
			"[fd00::5 10.96.0.5 203.0.113.1 203.0.113.2] 1/1 needed true missing [n1]"},
	} {
		o := Summarize([]corev1.Service{c.svc}, c.slices, []Report{reportOf("n1", time.Time{}, nil)}, nil)[0]
		got := fmt.Sprintf("%v %d/%d needed %v missing %v", o.Addresses, o.Ready, o.Total, o.Needed, o.Missing)
		if o.ServedBy != "" {
			got += " by " + o.ServedBy
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestServeReport(t *testing.T) {
	w := httptest.NewRecorder()
	ServeReport(func() (Report, error) { return reportOf("n1", then, map[string]uint64{"[fd00::2]:80": 3}), nil }).ServeHTTP(w, httptest.NewRequest("GET", ReportPath, nil))
	var got Report
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := reportOf("n1", then, map[string]uint64{"[fd00::2]:80": 3}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	w = httptest.NewRecorder()
	ServeReport(func() (Report, error) { return Report{}, errors.New("no counters: why") }).ServeHTTP(w, httptest.NewRequest("GET", ReportPath, nil))
	if w.Code != http.StatusInternalServerError || w.Body.String() != "no counters: why\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	failing := NewReport("n1", SyncLag{}, errors.New("refused"), nil, nil)
	if failing.Failure != "refused" {
		t.Errorf("failure %q", failing.Failure)
	}
}

func counted(namespace, service, at string, n uint64) Connections {
	return Connections{types.NamespacedName{Namespace: namespace, Name: service}, "http", netip.MustParseAddrPort(at), n}
}

func TestConnectionsAreBounded(t *testing.T) {
	all := []Connections{
		counted("a", "x", "10.0.0.2:80", 1), counted("a", "x", "10.0.0.1:80", 2), counted("a", "y", "10.0.0.1:80", 4), counted("b", "z", "10.0.0.3:80", 8),
	}
	for limit, want := range map[int]string{
		4: "[{a x http 10.0.0.1:80 2} {a x http 10.0.0.2:80 1} {a y http 10.0.0.1:80 4} {b z http 10.0.0.3:80 8}]",
		3: "[{a x   3} {a y   4} {b z   8}]",
		2: "[{a    7} {b    8}]",
		1: "[{    15}]",
	} {
		if got := fmt.Sprint(bounded(all, limit)); got != want {
			t.Errorf("at most %d: %s, want %s", limit, got, want)
		}
	}
}

func TestConnectionsAreReadWhenAskedFor(t *testing.T) {
	reads, failure := 0, error(nil)
	r := prometheus.NewPedanticRegistry()
	CollectConnections(r, func() ([]Connections, error) {
		reads++
		return []Connections{counted("a", "x", "10.0.0.2:80", 5)}, failure
	})
	if reads != 0 {
		t.Error("read before anybody asked")
	}
	want := strings.NewReader("# HELP fairlead_endpoint_connections_total Connections that this node has balanced to an endpoint of a Service. Where there are too many endpoints, endpoint and port, and then service, are empty and the value is their sum.\n" +
		"# TYPE fairlead_endpoint_connections_total counter\n" +
		`fairlead_endpoint_connections_total{endpoint="10.0.0.2:80",namespace="a",port="http",service="x"} 5` + "\n")
	if err := testutil.GatherAndCompare(r, want); err != nil {
		t.Error(err)
	}
	failure = errors.New("too many elements to read")
	if _, err := r.Gather(); err == nil || !strings.Contains(err.Error(), "too many elements") {
		t.Errorf("a failed read: %v", err)
	}
}
