package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/controller/loadbalancer/plan"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/lb"
)

// pass makes every status, and what nodes announce, what it is to be.
func (c *Controller) pass(ctx context.Context, _ string) (time.Duration, error) {
	err := c.keepDefault(ctx)
	known := c.reserved()
	pools := plan.Pools(objects[kinds.AddressPool](c.poolCache), c.cfg.Pods, c.cfg.Services, known)
	version := c.services.GetStore().LastStoreSyncResourceVersion()
	services := c.own.View(everything, version, objects[corev1.Service](c.services))
	view := plan.View{Pools: pools, Services: services, Namespaces: map[string]labels.Set{}, Reserved: known}
	for _, n := range objects[corev1.Namespace](c.namespaces) {
		view.Namespaces[n.Name] = n.Labels
	}
	decisions := view.Assign()
	wanted := c.wanted(pools, services, decisions)
	c.announcer.want(wanted, objects[corev1.Node](c.nodes))
	c.tellExternal(services)
	again := c.routers.await(decisions, pools, time.Now())
	err = errors.Join(err, c.writeAll(ctx, decisions, services, pools), c.countAll(ctx, pools, plan.Taken(decisions)))
	return again, err
}

func objects[T any](informer cache.SharedIndexInformer) []*T {
	list := informer.GetStore().List()
	all := make([]*T, 0, len(list))
	for _, o := range list {
		all = append(all, o.(*T))
	}
	return all
}

// reserved is what no Service may have.
func (c *Controller) reserved() lb.Reserved {
	var servers []*discoveryv1.EndpointSlice
	for _, s := range objects[discoveryv1.EndpointSlice](c.slices) {
		if api.ServiceOf(s) == api.APIService {
			servers = append(servers, s)
		}
	}
	return lb.NewReserved(objects[corev1.Node](c.nodes), servers, c.cfg.Pods, c.cfg.Services)
}

// writeAll writes the statuses that are to say something else, and those again of which nobody knows whether they were written.
func (c *Controller) writeAll(ctx context.Context, decisions []plan.Decision, services []*corev1.Service, pools []plan.Pool) error {
	g := new(errgroup.Group)
	g.SetLimit(writers)
	var errs []error
	for _, svc := range services {
		if asked, repeat := c.own.Unanswered(everything, svc.UID); repeat {
			before := kube.Cached[corev1.Service](c.services, api.Name(svc))
			if before == nil || before.UID != svc.UID {
				before = svc
			}
			g.Go(func() error { return c.write(ctx, before, asked, plan.Decision{}) })
		}
	}
	errs = append(errs, g.Wait())
	for _, d := range decisions {
		if _, repeat := c.own.Unanswered(everything, d.Service.UID); repeat {
			continue
		}
		if next := c.status(d, pools); next != nil {
			g.Go(func() error { return c.write(ctx, d.Service, next, d) })
		}
	}
	return errors.Join(append(errs, g.Wait())...)
}

// write writes a status, and tells of it.
func (c *Controller) write(ctx context.Context, svc, next *corev1.Service, d plan.Decision) error {
	c.own.Asked(everything, next)
	answer, err := c.client.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	switch {
	case err == nil:
		c.own.Wrote(everything, answer)
		c.tell(svc, next, d)
		return nil
	case kube.Refused(err):
		c.own.Withdraw(everything, next.UID)
	default:
		c.own.NoAnswer(everything, next.UID)
	}
	if apierrors.IsNotFound(err) {
		return nil // its deletion will be seen
	}
	return fmt.Errorf("addresses of Service %s: %w", api.Name(svc), err)
}

// status is a Service with the status that a decision means; nil: it has it.
func (c *Controller) status(d plan.Decision, pools []plan.Pool) *corev1.Service {
	next := d.Service.DeepCopy()
	vip := corev1.LoadBalancerIPModeVIP
	var ingress []corev1.LoadBalancerIngress
	for _, a := range d.Addresses {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: a.String(), IPMode: &vip})
	}
	if !sameAddresses(next.Status.LoadBalancer.Ingress, d.Addresses) {
		next.Status.LoadBalancer.Ingress = ingress
	}
	if d.Reason == "" {
		meta.RemoveStatusCondition(&next.Status.Conditions, api.ConditionAssigned)
		meta.RemoveStatusCondition(&next.Status.Conditions, api.ConditionAnnounced)
	} else {
		setCondition(next, api.ConditionAssigned, d.Reason == plan.Assigned, d.Reason, d.Message)
		if reason, message, said := c.announcement(d, pools); said {
			setCondition(next, api.ConditionAnnounced, reason == announced || reason == contested, reason, message)
		} else {
			meta.RemoveStatusCondition(&next.Status.Conditions, api.ConditionAnnounced)
		}
	}
	if sameStatus(d.Service, next) {
		return nil
	}
	return next
}

func setCondition(svc *corev1.Service, kind string, yes bool, reason, message string) {
	status := metav1.ConditionFalse
	if yes {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&svc.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: svc.Generation})
}

func sameAddresses(ingress []corev1.LoadBalancerIngress, all []netip.Addr) bool {
	return slices.EqualFunc(ingress, all, func(in corev1.LoadBalancerIngress, a netip.Addr) bool { return in.IP == a.String() && api.VIP(&in) })
}

// sameStatus reports whether two versions of a Service have the same addresses and our conditions.
func sameStatus(a, b *corev1.Service) bool {
	for _, kind := range []string{api.ConditionAssigned, api.ConditionAnnounced} {
		x, y := meta.FindStatusCondition(a.Status.Conditions, kind), meta.FindStatusCondition(b.Status.Conditions, kind)
		if (x == nil) != (y == nil) || x != nil && (x.Status != y.Status || x.Reason != y.Reason || x.Message != y.Message) {
			return false
		}
	}
	return equality.Semantic.DeepEqual(a.Status.LoadBalancer, b.Status.LoadBalancer)
}

// tell posts Events of what a status says now and did not say before.
func (c *Controller) tell(before, after *corev1.Service, d plan.Decision) {
	for _, a := range d.Withdrawn {
		c.events.Eventf(after, corev1.EventTypeWarning, plan.Withdrawn, "%s was taken back: no pool has it any more", a)
	}
	for _, kind := range []string{api.ConditionAssigned, api.ConditionAnnounced} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(after.Status.Conditions, kind)
		if is == nil || was != nil && was.Reason == is.Reason && was.Message == is.Message || is.Reason == waiting {
			continue
		}
		level := corev1.EventTypeWarning
		if is.Status == metav1.ConditionTrue && is.Reason != contested {
			level = corev1.EventTypeNormal
		}
		c.events.Event(after, level, is.Reason, is.Message)
	}
}

// countAll writes into the status of each pool how many of its addresses are given, and whether it is used.
func (c *Controller) countAll(ctx context.Context, pools []plan.Pool, taken []netip.Addr) error {
	var errs []error
	for i := range pools {
		p := &pools[i]
		next := p.Object.DeepCopy()
		next.Status.Assigned, next.Status.Free = p.Count(taken)
		condition := metav1.Condition{Type: kinds.PoolUsable, Status: metav1.ConditionFalse, Reason: p.Reason, Message: p.Message, ObservedGeneration: next.Generation}
		if p.Usable() {
			condition.Status = metav1.ConditionTrue
		}
		news := meta.SetStatusCondition(&next.Status.Conditions, condition)
		if equality.Semantic.DeepEqual(next.Status, p.Object.Status) {
			continue
		}
		_, err := c.pools.UpdateStatus(ctx, next, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if errs = append(errs, err); err == nil && news && !p.Usable() {
			c.events.Event(next, corev1.EventTypeWarning, p.Reason, strings.ToUpper(p.Message[:1])+p.Message[1:])
		}
	}
	return errors.Join(errs...)
}
