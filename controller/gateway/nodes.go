package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/network/l7/gateway"
	"fairlead.dev/fairlead/pki/peer"
)

const (
	// askBound bounds one question to a node, and askAtOnce how many are asked together.
	askBound  = 2 * time.Second
	askAtOnce = 16
	// The pauses between two rounds of questions, while an answer is awaited that does not come.
	firstPause, lastPause = 50 * time.Millisecond, 2 * time.Second
	maxAnswer             = 8 << 20
)

// Asker asks a node what it serves of Gateways. An error means that there is no answer.
type Asker func(ctx context.Context, node *corev1.Node) (announce.Serving, error)

// Agents returns an Asker that asks the agents of nodes.
func Agents(agents *peer.Asker) Asker {
	return func(ctx context.Context, node *corev1.Node) (serving announce.Serving, err error) {
		ctx, cancel := context.WithTimeout(ctx, askBound)
		defer cancel()
		err = agents.Ask(ctx, node, announce.GatewaysPath, nil, &serving, maxAnswer)
		return serving, err
	}
}

// answer is what a node has said.
type answer struct {
	serving announce.Serving
	err     error
}

// nodes is what they have said in the last round. They are asked only while something is to be said to be programmed.
type nodes struct {
	mu      sync.Mutex
	asking  bool
	answers map[string]answer // nil: nobody was asked yet
	pause   time.Duration
	next    time.Time
}

// await holds back what nodes have not said that they serve, and has them asked about it. It returns when to look again; zero: no need.
func (c *Controller) await(ctx context.Context, all []*gateway.Gateway, now time.Time) time.Duration {
	ready := c.readyNodes()
	n := &c.asked
	n.mu.Lock()
	defer n.mu.Unlock()
	waits := false
	for _, g := range all {
		waits = g.Await(func(uid types.UID, want announce.Listeners) string { return n.lacking(ready, uid, want) }) || waits
	}
	switch {
	case !waits:
		n.pause, n.next, n.answers = 0, time.Time{}, nil
		return 0
	case n.asking:
		return 0 // the answers begin a pass
	case now.Before(n.next):
		return n.next.Sub(now)
	}
	n.asking, n.pause = true, min(max(2*n.pause, firstPause), lastPause)
	go c.askAll(ctx, ready)
	return 0
}

// lacking is why something is not said to be served by all nodes; empty: it is.
func (n *nodes) lacking(ready []*corev1.Node, uid types.UID, want announce.Listeners) string {
	if len(ready) == 0 {
		return "There is no node that is ready"
	}
	var lacking []string
	why := ""
	for _, node := range ready {
		a, known := n.answers[node.Name]
		switch {
		case known && a.err != nil:
			why = fmt.Sprintf(": node %s does not answer", node.Name)
		case known && a.serving[uid].Covers(want):
			continue
		}
		lacking = append(lacking, node.Name)
	}
	if len(lacking) == 0 {
		return ""
	}
	const most = 3 // that are named
	more := ""
	if len(lacking) > most {
		more = fmt.Sprintf(" and %d more", len(lacking)-most)
	}
	return fmt.Sprintf("Not served yet by %s%s%s", strings.Join(lacking[:min(most, len(lacking))], ", "), more, why)
}

// readyNodes are those that are to serve, in order.
func (c *Controller) readyNodes() []*corev1.Node {
	var all []*corev1.Node
	for _, o := range c.nodes.GetStore().List() {
		if n, is := o.(*corev1.Node); is && api.NodeReady(n) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// askAll makes a round of questions, and has the answers looked at.
func (c *Controller) askAll(ctx context.Context, all []*corev1.Node) {
	answers := make([]answer, len(all))
	var round errgroup.Group
	round.SetLimit(askAtOnce)
	for i, node := range all {
		round.Go(func() error {
			a := &answers[i]
			if a.serving, a.err = c.ask(ctx, node); a.err != nil {
				c.log.Debug("node does not say what it serves", "node", node.Name, "err", a.err)
			}
			return nil
		})
	}
	_ = round.Wait() // none fails
	n := &c.asked
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asking, n.next, n.answers = false, time.Now().Add(n.pause), make(map[string]answer, len(all))
	for i, node := range all {
		n.answers[node.Name] = answers[i]
	}
	c.queue.Add(struct{}{})
}
