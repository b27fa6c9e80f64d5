package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/gateway"
)

// atOnce is how many writes are under way together.
const atOnce = 8

// writes are those of one pass. Each goes on whatever becomes of the others.
type writes struct {
	turns chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

func (w *writes) begin(do func() error) {
	w.turns <- struct{}{}
	w.all.Go(func() {
		defer func() { <-w.turns }()
		if err := do(); err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errs = append(w.errs, err)
		}
	})
}

// pass makes everything what it should be. It says when to look again, if it has to.
func (c *Controller) pass(ctx context.Context) (again time.Duration, err error) {
	result := gateway.Derive(c.view(), &c.memory)
	w := &writes{turns: make(chan struct{}, atOnce)}
	for _, g := range result.Gateways {
		w.begin(func() error { return c.syncService(ctx, g) })
	}
	w.begin(func() error { return c.syncSlices(ctx, result.Gateways) })
	now := metav1.Now()
	again = c.await(ctx, result.Gateways, now.Time)
	for _, s := range result.Classes {
		w.begin(func() error { return c.status(ctx, "gatewayclasses", s.Object, s.Object.Status, s.Status(now)) })
	}
	for _, g := range result.Gateways {
		status := g.Status(now)
		for _, d := range []time.Duration{c.tellUnaddressed(g.Object, status.Conditions, now.Time), g.Again(now.Time)} {
			if d > 0 && (again == 0 || d < again) {
				again = d
			}
		}
		w.begin(func() error {
			c.tell("Gateway", g.Object, g.Object.Status.Conditions, status.Conditions)
			c.tell("Gateway", g.Object, ofListeners(g.Object.Status.Listeners), ofListeners(status.Listeners))
			return c.status(ctx, "gateways", g.Object, g.Object.Status, status)
		})
	}
	for _, s := range result.ListenerSets {
		w.begin(func() error {
			status := s.Status(now)
			c.tell("ListenerSet", s.Object, s.Object.Status.Conditions, status.Conditions)
			c.tell("ListenerSet", s.Object, ofListeners(s.Object.Status.Listeners), ofListeners(status.Listeners))
			return c.status(ctx, "listenersets", s.Object, s.Object.Status, status)
		})
	}
	for _, s := range result.Policies {
		w.begin(func() error {
			return c.status(ctx, "backendtlspolicies", s.Object, s.Object.Status, gw.PolicyStatus{Ancestors: s.Status(now)})
		})
	}
	c.routes(ctx, w, result.Routes, now)
	w.all.Wait()
	return again, errors.Join(w.errs...)
}

// resources are the kinds of routes by the names that they have in paths.
var resources = map[gw.Kind]string{"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes", "TLSRoute": "tlsroutes", "TCPRoute": "tcproutes", "UDPRoute": "udproutes"}

// routes writes the statuses of routes. One that was right, and of which nothing has changed since, is not looked at.
func (c *Controller) routes(ctx context.Context, w *writes, all []gateway.RouteStatus, now metav1.Time) {
	settled := make(map[types.UID]gateway.RouteStatus, len(all))
	for _, r := range all {
		if before, ok := c.settled[r.Object.GetUID()]; ok && before.Same(r) {
			settled[r.Object.GetUID()] = before
			continue
		}
		have, want := r.Parents(), r.Status(now)
		if same(have, want) {
			settled[r.Object.GetUID()] = r
			continue
		}
		w.begin(func() error {
			for _, p := range want {
				if p.ControllerName == gateway.Controller {
					c.tell(string(r.Kind), r.Object, conditionsOf(have, p), p.Conditions)
				}
			}
			return c.status(ctx, resources[r.Kind], r.Object, gw.RouteStatus{Parents: have}, gw.RouteStatus{Parents: want})
		})
	}
	c.settled = settled
}

// ofListeners are the conditions of listeners of which people are told: what is wrong with their certificates.
func ofListeners[T gw.ListenerStatus | gw.ListenerEntryStatus](listeners []T) []metav1.Condition {
	all := make([][]metav1.Condition, len(listeners))
	for i, l := range listeners {
		all[i] = gw.ListenerStatus(l).Conditions
	}
	return gateway.Wrong(all...)
}

// conditionsOf are those that a route had for a parent.
func conditionsOf(have []gw.RouteParentStatus, p gw.RouteParentStatus) []metav1.Condition {
	for _, h := range have {
		if h.ControllerName == p.ControllerName && same(h.ParentRef, p.ParentRef) {
			return h.Conditions
		}
	}
	return nil
}
