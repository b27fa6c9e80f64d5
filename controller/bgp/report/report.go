// Package report says what the status of a BGPPeer is, by what the agents of nodes tell of their sessions. It only computes.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
)

// Reasons of the condition Established, and of Events.
const (
	Established = "SessionsEstablished"
	Missing     = "SessionsMissing"
	Connecting  = "Connecting" // a router is called every few seconds: what is not there yet is no news
	NoNode      = "NoNode"
)

const (
	// patience is how long a session may take before it is said that it is missing.
	patience = 15 * time.Second
	// most is how many nodes a status lists.
	most = 20
)

// Answer is what the agent of a node tells.
type Answer struct {
	Node    *corev1.Node
	Routers []announce.Router
	Failure string // why it does not tell
}

// Status is that of a BGPPeer, which may be the one that it has.
func Status(p *kinds.BGPPeer, answers []Answer, now time.Time) kinds.BGPPeerStatus {
	status := kinds.BGPPeerStatus{Conditions: slices.Clone(p.Status.Conditions)}
	waiting := true // for all that are missing
	for _, a := range answers {
		if !p.Selects(a.Node.Labels) {
			continue
		}
		n := nodeStatus(p, a, now)
		if n.Established {
			status.Established++
		}
		waiting = waiting && (n.Established || now.Sub(n.Since.Time) < patience)
		status.Nodes = append(status.Nodes, n)
	}
	status.Wanted = int32(len(status.Nodes))
	slices.SortFunc(status.Nodes, func(a, b kinds.BGPPeerNode) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Name, b.Name))
	})
	c := condition(&status, waiting)
	c.Type, c.ObservedGeneration, c.LastTransitionTime = kinds.PeerEstablished, p.Generation, metav1.NewTime(now)
	meta.SetStatusCondition(&status.Conditions, c)
	status.Nodes = status.Nodes[:min(len(status.Nodes), most)]
	return status
}

// Told is which routers have been told of which addresses.
func Told(answers []Answer) announce.Told {
	told := announce.Told{}
	for _, a := range answers {
		for _, r := range a.Routers {
			for _, addr := range r.Told {
				if told[addr] == nil {
					told[addr] = map[string][]string{}
				}
				told[addr][r.Peer] = append(told[addr][r.Peer], a.Node.Name)
			}
		}
	}
	for _, peers := range told {
		for _, nodes := range peers {
			slices.Sort(nodes)
		}
	}
	return told
}

func order(n kinds.BGPPeerNode) int {
	if n.Established {
		return 1
	}
	return 0
}

// nodeStatus is how the session of one node is.
func nodeStatus(p *kinds.BGPPeer, a Answer, now time.Time) kinds.BGPPeerNode {
	n := kinds.BGPPeerNode{Name: a.Node.Name, Reason: a.Failure}
	if i := slices.IndexFunc(a.Routers, func(r announce.Router) bool { return r.Peer == p.Name }); i >= 0 {
		r := a.Routers[i]
		n.Established, n.Routes, n.Reason, n.Since = r.Established, int32(r.Routes), r.Reason, metav1.NewTime(r.Since.Truncate(time.Second))
		return n
	}
	if n.Reason == "" {
		n.Reason = "the node does not know of this BGPPeer yet"
	}
	n.Since = metav1.NewTime(now.Truncate(time.Second))
	for _, before := range p.Status.Nodes {
		if before.Name == n.Name && !before.Established {
			n.Since = before.Since
		}
	}
	return n
}

// condition says whether all sessions are established, and of the first that is not, why.
func condition(s *kinds.BGPPeerStatus, waiting bool) metav1.Condition {
	c := metav1.Condition{Status: metav1.ConditionFalse}
	switch {
	case s.Wanted == 0:
		c.Reason, c.Message = NoNode, "no node has the labels of the nodeSelector"
	case s.Established == s.Wanted:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, Established, fmt.Sprintf("%d of %d nodes have a session", s.Established, s.Wanted)
	default:
		c.Reason, c.Message = Missing, fmt.Sprintf("%d of %d nodes have a session; node %s: %s", s.Established, s.Wanted, s.Nodes[0].Name, s.Nodes[0].Reason)
		if waiting {
			c.Reason = Connecting
		}
	}
	return c
}

// News is what is to be told of a change of status by an Event, if anything.
func News(before, after kinds.BGPPeerStatus) (kind, reason, message string) {
	was, is := meta.FindStatusCondition(before.Conditions, kinds.PeerEstablished), meta.FindStatusCondition(after.Conditions, kinds.PeerEstablished)
	switch {
	case is == nil || is.Reason == Connecting || was != nil && was.Reason == is.Reason && (is.Status == metav1.ConditionTrue || was.Message == is.Message):
		return "", "", ""
	case is.Status == metav1.ConditionTrue:
		return corev1.EventTypeNormal, is.Reason, is.Message
	}
	return corev1.EventTypeWarning, is.Reason, is.Message
}
