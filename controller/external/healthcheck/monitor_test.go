package healthcheck

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/probe"
)

// drama is a Monitor in a world without a clock of its own: time is what the test says, and each probe ends at once as the
// network of the world has it.
type drama struct {
	*Monitor
	t       *testing.T
	now     time.Time
	objects map[types.NamespacedName]*View
	dead    map[string]bool // what does not answer: an address, or "n1 192.0.2.1" from one node
	mute    map[string]bool // nodes that cannot be asked
	dirty   []types.NamespacedName
	log     []string // what happened, each with the second in which it did
	probes  []string // each as "second node address"
}

func newDrama(t *testing.T, nodes ...string) *drama {
	d := &drama{Monitor: NewMonitor(), t: t, now: time.Unix(0, 0), objects: map[types.NamespacedName]*View{}, dead: map[string]bool{}, mute: map[string]bool{}}
	d.Jitter = func(n time.Duration) time.Duration { return n / 2 }
	d.Changed = func(key types.NamespacedName) { d.dirty = append(d.dirty, key) }
	d.Assigned = func(svc types.NamespacedName, node, before string) { d.happens("%s is probed from %q", svc.Name, node) }
	for _, name := range nodes {
		d.node(name, corev1.ConditionTrue)
	}
	return d
}

func (d *drama) happens(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf("%ds ", d.now.Unix())+fmt.Sprintf(format, args...))
}

func (d *drama) node(name string, ready corev1.ConditionStatus) {
	d.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}})
}

// apply sets a Service, and its Endpoints in the notation of object.
func (d *drama) apply(svc *corev1.Service, endpoints string) {
	v := &View{Service: svc, Endpoints: object(endpoints)}
	d.objects[api.Name(svc)] = v
	d.observe(api.Name(svc))
}

func (d *drama) observe(key types.NamespacedName) {
	v := d.objects[key]
	verdict := d.Observe(key, *v, d.now)
	if verdict.Wait > 0 {
		d.now = d.now.Add(verdict.Wait)
		d.observe(key)
		return
	}
	if verdict.Writes.Endpoints != nil {
		v.Endpoints = verdict.Writes.Endpoints
		d.happens("%s %s", key.Name, show(View{Endpoints: v.Endpoints}.List(), Ejected(v.Endpoints)))
	}
	for _, e := range verdict.Events {
		if !e.Written {
			d.happens("%s %s %s", key.Name, e.Reason, e.Message)
		}
	}
}

// pass lets time go by, a tenth of a second a step.
func (d *drama) pass(seconds int) {
	for end := d.now.Add(time.Duration(seconds) * time.Second); d.now.Before(end); d.now = d.now.Add(100 * time.Millisecond) {
		for {
			try, found := d.Due(d.now)
			if !found {
				break
			}
			node, to := try.Node.Name, try.Request.Address.String()
			d.probes = append(d.probes, fmt.Sprintf("%d %s %s", d.now.Unix(), node, to))
			d.Answered(try, probe.Reply{OK: !d.dead[to] && !d.dead[node+" "+to], Message: "refused"}, !d.mute[node], d.now)
		}
		for len(d.dirty) > 0 {
			key := d.dirty[0]
			d.dirty = d.dirty[1:]
			d.observe(key)
		}
	}
}

func (d *drama) saw(want ...string) {
	d.t.Helper()
	if got := strings.Join(d.log, "\n"); got != strings.Join(want, "\n") {
		d.t.Errorf("happened:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	d.log = nil
}

const everySecond = `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":2}`

func TestMonitorConfirmsByASecondNode(t *testing.T) {
	d := newDrama(t, "n1", "n2")
	d.apply(service(api.AnnotationProbe, everySecond), "1 2")
	d.pass(3)
	first := strings.Fields(d.probes[0])[1]
	second := map[string]string{"n1": "n2", "n2": "n1"}[first]
	d.saw(fmt.Sprintf("0s db is probed from %q", first))
	d.dead[first+" 192.0.2.2"] = true // only the first node loses it
	d.pass(4)
	d.saw()
	if s := d.services[api.Name(service())]; s.prober != second {
		t.Errorf("%s reaches both, and %s still probes", second, s.prober)
	}
	d.dead["192.0.2.2"] = true
	d.pass(4)
	d.saw("8s db 1 !2 | 2")
	clear(d.dead)
	d.pass(2)
	d.saw("11s db 1 2 |")
}

// A node that cannot be asked says nothing about addresses: nothing moves, another node goes on, and without any the state stays.
func TestMonitorNodesThatCannotBeAsked(t *testing.T) {
	d := newDrama(t, "n1", "n2")
	d.apply(service(api.AnnotationProbe, everySecond), "1 2")
	d.pass(2)
	first := strings.Fields(d.probes[0])[1]
	second := map[string]string{"n1": "n2", "n2": "n1"}[first]
	d.log = nil
	d.mute[first] = true
	d.dead["192.0.2.2"] = true
	d.pass(5)
	d.saw(fmt.Sprintf("2s db is probed from %q", second), "3s db 1 !2 | 2") // no other node can confirm it
	d.mute[second] = true
	clear(d.dead)
	d.pass(60)
	for _, e := range d.log {
		if strings.Contains(e, "|") {
			t.Errorf("nobody could be asked: %s", e)
		}
	}
	n := 0
	for _, p := range d.probes {
		if strings.HasPrefix(p, "40 ") {
			n++
		}
	}
	if n == 0 || n > 8 {
		t.Errorf("%d tries in a second at two nodes that cannot be asked, for two addresses with a period of one second", n)
	}
	clear(d.mute)
	d.pass(15)
	if got := show(View{Endpoints: d.objects[api.Name(service())].Endpoints}.List(), nil); !strings.HasPrefix(got, "1 2") {
		t.Errorf("it answers again, and the object says %s", got)
	}
	d.node("n1", corev1.ConditionUnknown)
	d.RemoveNode("n2")
	d.dead["192.0.2.1"], d.probes, d.log = true, nil, nil
	d.pass(10)
	if len(d.probes) > 0 || slices.ContainsFunc(d.log, func(e string) bool { return strings.Contains(e, "|") }) {
		t.Errorf("no node is Ready, and yet: %v %v", d.probes, d.log)
	}
}

// Who is no Service to probe (any more) is not probed, and nothing that was ejected is touched, unless the annotation goes.
func TestMonitorEnds(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		want   string
	}{
		"a selector":             {func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"a": "b"} }, "1 !2 | 2"},
		"ExternalName":           {func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeExternalName }, "1 !2 | 2"},
		"being deleted":          {func(svc *corev1.Service) { svc.DeletionTimestamp = &metav1.Time{} }, "1 !2 | 2"},
		"no annotation any more": {func(svc *corev1.Service) { delete(svc.Annotations, api.AnnotationProbe) }, "1 2 |"},
		"a wrong annotation":     {func(svc *corev1.Service) { svc.Annotations[api.AnnotationProbe] = "{" }, "1 !2 | 2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrama(t, "n1")
			svc := service(api.AnnotationProbe, everySecond)
			d.dead["192.0.2.2"] = true
			d.apply(svc, "1 2")
			d.pass(4)
			svc = svc.DeepCopy()
			test.change(svc)
			key := api.Name(svc)
			d.objects[key].Service = svc
			d.observe(key)
			clear(d.dead)
			d.probes = nil
			d.pass(4)
			if got := show(View{Endpoints: d.objects[key].Endpoints}.List(), Ejected(d.objects[key].Endpoints)); got != test.want || len(d.probes) > 0 {
				t.Errorf("%s, probes %v; want %s and none", got, d.probes, test.want)
			}
			if stats := d.Stats(); stats.Targets > 0 {
				t.Errorf("still probed: %+v", stats)
			}
		})
	}
}

// The API server keeps its own endpoints; they are never moved, whatever a person writes.
func TestMonitorLeavesTheAPIServerAlone(t *testing.T) {
	d := newDrama(t, "n1")
	svc := service(api.AnnotationProbe, everySecond)
	svc.Namespace, svc.Name = api.APIService.Namespace, api.APIService.Name
	d.dead["192.0.2.1"] = true
	d.apply(svc, "1")
	d.pass(5)
	d.observe(api.APIService)
	d.saw("0s kubernetes InvalidProbe annotation fairlead.dev/probe: Forbidden: the API server itself keeps the endpoints of this Service")
}

// Another program that keeps putting a dead address back is no fight at full speed.
func TestMonitorWritesAtAnInterval(t *testing.T) {
	d := newDrama(t, "n1")
	d.dead["192.0.2.2"] = true
	d.apply(service(api.AnnotationProbe, everySecond), "1 2")
	d.pass(4)
	key := api.Name(service())
	writes := 0
	for begin := d.now; d.now.Sub(begin) < 2*time.Second; {
		d.objects[key].Endpoints = object("1 2")
		if verdict := d.Observe(key, *d.objects[key], d.now); verdict.Wait > 0 {
			d.now = d.now.Add(verdict.Wait)
		} else if !verdict.Writes.None() {
			writes++
		}
	}
	if writes < 5 || writes > 10 {
		t.Errorf("%d writes in two seconds, want up to one each 200 ms", writes)
	}
}

// What is deferred because a Service has too many probes under way is made when one of them ends, and no other Service waits.
func TestMonitorShares(t *testing.T) {
	d := newDrama(t, "n1")
	crowd := service(api.AnnotationProbe, everySecond)
	crowd.Name = "crowd"
	v := View{Service: crowd, Endpoints: object("")}
	for i := range 100 {
		v.Endpoints.Subsets[0].Addresses = append(v.Endpoints.Subsets[0].Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("198.18.0.%d", i+1)})
	}
	d.Observe(api.Name(crowd), v, d.now)
	d.apply(service(api.AnnotationProbe, everySecond), "1")
	d.now = d.now.Add(5 * time.Second)
	var open []Try
	other := false
	for try, found := d.Due(d.now); found; try, found = d.Due(d.now) {
		if try.Service.Name == "db" {
			other = true
			continue
		}
		open = append(open, try)
	}
	if len(open) != MaxPerService || !other || d.Stats().Deferred != 100-MaxPerService {
		t.Fatalf("%d are under way, of the other Service %v, %+v", len(open), other, d.Stats())
	}
	probed := map[string]bool{}
	for len(open) > 0 {
		probed[open[0].Request.Address.String()] = true
		d.Answered(open[0], probe.Reply{OK: true}, true, d.now)
		open = open[1:]
		for try, found := d.Due(d.now); found; try, found = d.Due(d.now) {
			if try.Service.Name == "crowd" {
				open = append(open, try)
			}
		}
		if len(open) > MaxPerService {
			t.Fatalf("%d are under way", len(open))
		}
	}
	if len(probed) != 100 || d.Stats().Deferred > 0 {
		t.Errorf("%d of 100 were probed, %+v", len(probed), d.Stats())
	}
}

// A server's words can be long, and of letters that take several bytes: an Event is text all the same.
func TestMonitorCutsFailuresBetweenLetters(t *testing.T) {
	d := newDrama(t, "n1")
	d.apply(service(api.AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":1}`, api.AnnotationKeep, "1"), "1")
	d.now = d.now.Add(2 * time.Second)
	try, found := d.Due(d.now)
	if !found {
		t.Fatal("nothing is due")
	}
	d.Answered(try, probe.Reply{Message: "x" + strings.Repeat("é", 300)}, true, d.now)
	d.observe(api.Name(service()))
	if got := strings.Join(d.log, "\n"); !utf8.ValidString(got) || !strings.Contains(got, "é...; it keeps its traffic") {
		t.Errorf("%q", got)
	}
}
