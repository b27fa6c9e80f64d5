package loadbalancer

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/controller/loadbalancer/plan"
)

// The reasons of the condition ConditionAnnounced, and of Events.
const (
	announced    = "AddressAnnounced"
	notAnnounced = "AddressNotAnnounced"
	contested    = "AddressContested"
	waiting      = "AddressNotAnnouncedYet"
)

// announcer is the board behind a lock.
type announcer struct {
	mu    sync.Mutex // guards below
	board *plan.Board
	where string // everything was when the Services were last looked at
	nodes map[string]*corev1.Node
	busy  map[string]bool // nodes that are being asked
	// silent are the nodes that did not answer last time.
	silent map[string]bool
	// work has a token when there may be something to do after a time in which there was nothing.
	work chan struct{}
}

func (a *announcer) start(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.board, a.busy, a.silent = plan.NewBoard(strconv.FormatInt(now.UnixNano(), 36), now), map[string]bool{}, map[string]bool{}
}

// want sets what is to be announced, and by which nodes it may be.
func (a *announcer) want(all []plan.Announce, nodes []*corev1.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	may := map[string]bool{}
	a.nodes = make(map[string]*corev1.Node, len(nodes))
	for _, n := range nodes {
		may[n.Name], a.nodes[n.Name] = plan.MayAnnounce(n), n
	}
	a.board.SetNodes(may)
	a.board.Want(all)
	select {
	case a.work <- struct{}{}:
	default:
	}
}

// find is which node announces an address, or why nobody does; and who else claims it.
func (a *announcer) find(addr netip.Addr) (node, why, rival string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	node, why = a.board.Where(addr)
	return node, why, a.board.Rival(addr)
}

// wanted are the addresses that nodes are to announce.
func (c *Controller) wanted(pools []plan.Pool, services []*corev1.Service, decisions []plan.Decision) []plan.Announce {
	all := map[netip.Addr]*plan.Announce{}
	slicesOf := c.slicesByService()
	add := func(svc *corev1.Service, addr netip.Addr) {
		a := all[addr]
		if a == nil {
			a = &plan.Announce{Addr: addr}
			all[addr] = a
		}
		if !local(svc) || svc.Annotations[api.AnnotationL7] == api.L7Gateway { // every node's engine serves a Gateway
			return
		}
		nodes := plan.LocalNodes(slicesOf[api.Name(svc)])
		if a.Limited {
			nodes = slices.DeleteFunc(nodes, func(n string) bool { return !slices.Contains(a.Only, n) })
		}
		a.Only, a.Limited = nodes, true
	}
	for _, d := range decisions {
		for _, addr := range d.Addresses {
			if plan.Announced(pools, addr, kinds.AnnounceL2) {
				add(d.Service, addr)
			}
		}
	}
	for _, svc := range services {
		for _, addr := range c.external(svc) {
			add(svc, addr)
		}
	}
	list := make([]plan.Announce, 0, len(all))
	for _, a := range all {
		list = append(list, *a)
	}
	return list
}

// external are the addresses of spec.externalIPs that are announced.
func (c *Controller) external(svc *corev1.Service) []netip.Addr {
	if !c.cfg.ExternalIPs {
		return nil
	}
	var all []netip.Addr
	for _, text := range svc.Spec.ExternalIPs {
		if addr, err := netip.ParseAddr(text); err == nil && c.mayBeExternal(addr.Unmap()) {
			all = append(all, addr.Unmap())
		}
	}
	return all
}

// mayBeExternal reports whether an address is none that a node has as its own.
func (c *Controller) mayBeExternal(addr netip.Addr) bool {
	return !slices.ContainsFunc(objects[corev1.Node](c.nodes), func(n *corev1.Node) bool { return slices.Contains(api.NodeIPs(n), addr) })
}

func (c *Controller) slicesByService() map[types.NamespacedName][]*discoveryv1.EndpointSlice {
	all := map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for _, s := range objects[discoveryv1.EndpointSlice](c.slices) {
		all[api.ServiceOf(s)] = append(all[api.ServiceOf(s)], s)
	}
	return all
}

// announcement says where the addresses of a Service are announced that are; said: there are any.
func (c *Controller) announcement(d plan.Decision, pools []plan.Pool) (reason, message string, said bool) {
	var texts []string
	reason = announced
	for _, addr := range d.Addresses {
		byLink := plan.Announced(pools, addr, kinds.AnnounceL2)
		if plan.Announced(pools, addr, kinds.AnnounceBGP) {
			if text, told := c.routers.say(addr, byLink); text != "" {
				if texts = append(texts, text); told != announced {
					reason = told
				}
			}
		}
		if !byLink {
			continue
		}
		node, why, rival := c.announcer.find(addr)
		switch {
		case rival != "":
			texts, reason = append(texts, fmt.Sprintf("%s announced by node %s, and %s", addr, node, rival)), contested
		case node != "":
			texts = append(texts, fmt.Sprintf("%s announced by node %s", addr, node))
		case why != "":
			texts, reason = append(texts, fmt.Sprintf("%s is announced by nobody: %s", addr, why)), notAnnounced
		default:
			texts = append(texts, fmt.Sprintf("%s is about to be announced", addr))
			if reason == announced {
				reason = waiting
			}
		}
	}
	return reason, strings.Join(texts, "; "), len(texts) > 0
}

// tellExternal posts Events of where spec.externalIPs are announced.
func (c *Controller) tellExternal(services []*corev1.Service) {
	now := map[string]string{}
	for _, svc := range services {
		for _, addr := range c.external(svc) {
			key := string(svc.UID) + " " + addr.String()
			node, why, _ := c.announcer.find(addr)
			switch {
			case node != "":
				now[key] = fmt.Sprintf("%s announced by node %s", addr, node)
			case why != "":
				now[key] = fmt.Sprintf("%s is announced by nobody: %s", addr, why)
			default:
				now[key] = c.told[key]
			}
			if now[key] == c.told[key] {
				continue
			}
			if node != "" {
				c.events.Event(svc, corev1.EventTypeNormal, announced, now[key])
			} else {
				c.events.Event(svc, corev1.EventTypeWarning, notAnnounced, now[key])
			}
		}
	}
	c.told = now
}

// converse asks the nodes in every interval in which there is something to announce, until ctx is done.
func (c *Controller) converse(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(announce.Interval)
	defer tick.Stop()
	for {
		due, idle, moved := c.announcer.step(time.Now())
		c.wakeIf(moved)
		for _, n := range due {
			asking.Go(func() { c.askOne(ctx, n) })
		}
		next := tick.C
		if idle {
			next = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		case <-c.announcer.work:
		}
	}
}

// step decides who announces what, and returns the nodes to ask, which are busy then. idle: there is nothing to do until something else is
// wanted. moved: something is to be told.
func (a *announcer) step(now time.Time) (due []*corev1.Node, idle, moved bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.board.Step(now)
	idle = true
	for name, n := range a.nodes {
		idle = idle && a.board.Idle(name)
		if !a.busy[name] && !a.board.Idle(name) {
			a.busy[name] = true
			due = append(due, n)
		}
	}
	where := a.board.Summary()
	moved = where != a.where
	a.where = where
	return due, idle, moved
}

// askOne has a conversation with one node.
func (c *Controller) askOne(ctx context.Context, n *corev1.Node) {
	a := &c.announcer
	a.mu.Lock()
	request, known := a.board.Ask(n.Name)
	a.mu.Unlock()
	var reply announce.Reply
	var err error
	if known {
		reply, err = c.ask(ctx, n, request)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, n.Name)
	if known && err == nil {
		a.board.Heard(time.Now(), n.Name, request, reply)
	}
	if silent := err != nil; ctx.Err() == nil && silent != a.silent[n.Name] {
		a.silent[n.Name] = silent
		c.log.Debug("node and its addresses", "node", n.Name, "answers", !silent, "err", err)
	}
}
