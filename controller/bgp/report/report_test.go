package report

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
)

var now = time.Unix(1_000_000, 0)

func answer(node string, routers ...announce.Router) Answer {
	return Answer{Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"rack": node[:1]}}}, Routers: routers}
}

func session(up bool, age time.Duration, reason string) announce.Router {
	return announce.Router{Peer: "tor", Established: up, Since: now.Add(-age), Routes: 7, Reason: reason}
}

// What a person reads of a BGPPeer, and which Event tells of it.
func TestStatus(t *testing.T) {
	silent := answer("b9")
	silent.Failure = "its agent does not answer: timeout"
	for what, test := range map[string]struct {
		selector    map[string]string
		answers     []Answer
		want, event string
	}{
		"all": {nil, []Answer{answer("a1", session(true, time.Hour, "")), answer("a2", session(true, time.Hour, ""))},
			"True SessionsEstablished 2/2 2 of 2 nodes have a session [a1 true a2 true]", "Normal SessionsEstablished"},
		"one is missing": {nil, []Answer{answer("a1", session(true, time.Hour, "")), answer("a2", session(false, time.Hour, "nothing listens on 192.0.2.1:179"))},
			"False SessionsMissing 1/2 1 of 2 nodes have a session; node a2: nothing listens on 192.0.2.1:179 [a2 false a1 true]", "Warning SessionsMissing"},
		"not yet": {nil, []Answer{answer("a1", session(false, time.Second, "router 192.0.2.1:179 is being called"))},
			"False Connecting 0/1 0 of 1 nodes have a session; node a1: router 192.0.2.1:179 is being called [a1 false]", " "},
		"a node that knows nothing of it": {nil, []Answer{answer("a1")},
			"False Connecting 0/1 0 of 1 nodes have a session; node a1: the node does not know of this BGPPeer yet [a1 false]", " "},
		"a node that is silent": {map[string]string{"rack": "b"}, []Answer{answer("a1", session(true, time.Hour, "")), silent},
			"False Connecting 0/1 0 of 1 nodes have a session; node b9: its agent does not answer: timeout [b9 false]", " "},
		"one is missing for long, another not yet there": {nil, []Answer{answer("a1", session(false, time.Hour, "nothing listens")), answer("a2")},
			"False SessionsMissing 0/2 0 of 2 nodes have a session; node a1: nothing listens [a1 false a2 false]", "Warning SessionsMissing"},
		"no node": {map[string]string{"rack": "z"}, []Answer{answer("a1")}, "False NoNode 0/0 no node has the labels of the nodeSelector []", "Warning NoNode"},
	} {
		p := &kinds.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor", Generation: 3}}
		if test.selector != nil {
			p.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: test.selector}
		}
		s := Status(p, test.answers, now)
		c := meta.FindStatusCondition(s.Conditions, kinds.PeerEstablished)
		var nodes []any
		for _, n := range s.Nodes {
			nodes = append(nodes, n.Name, n.Established)
		}
		if got := fmt.Sprintf("%s %s %d/%d %s %v", c.Status, c.Reason, s.Established, s.Wanted, c.Message, nodes); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", what, got, test.want)
		}
		kind, reason, _ := News(p.Status, s)
		if kind+" "+reason != test.event {
			t.Errorf("%s: told by %s %s, want %s", what, kind, reason, test.event)
		}
		p.Status = s
		if again := Status(p, test.answers, now.Add(time.Second)); fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%s: the same answers a second later: %v, before %v", what, again, s)
		}
		if kind, _, _ := News(s, s); kind != "" {
			t.Errorf("%s: no change is news", what)
		}
	}
}

// A node that is silent for longer is missing; of many nodes only some are listed, those without a session first.
func TestLongSilenceAndManyNodes(t *testing.T) {
	p := &kinds.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor"}}
	silent := answer("a1")
	silent.Failure = "its agent does not answer: timeout"
	p.Status = Status(p, []Answer{silent}, now)
	after := Status(p, []Answer{silent}, now.Add(time.Minute))
	if kind, reason, _ := News(p.Status, after); kind != "Warning" || reason != Missing {
		t.Errorf("a minute of silence is told by %q %q", kind, reason)
	}
	var many []Answer
	for i := range 100 {
		many = append(many, answer(fmt.Sprintf("a%03d", i), session(i != 77, time.Hour, "")))
	}
	if s := Status(p, many, now); s.Wanted != 100 || s.Established != 99 || len(s.Nodes) != 20 || s.Nodes[0].Name != "a077" {
		t.Errorf("%d of %d, listed %v", s.Established, s.Wanted, s.Nodes)
	}
}
