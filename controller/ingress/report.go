package ingress

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/ingress/plan"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/ingress"
)

// report posts an Event for each finding about an Ingress that people have not been told of.
func (c *Controller) report(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	c.take()
	ing := kube.Cached[networkingv1.Ingress](c.ingresses, key)
	c.mu.Lock()
	if ing == nil || ing.DeletionTimestamp != nil {
		delete(c.said, key)
		c.mu.Unlock()
		return 0, nil
	}
	served := c.builder.Served(key)
	found := c.builder.Findings(key)
	c.mu.Unlock()
	if served {
		named, complete := c.ofNamed(ing)
		if !complete { // whoever reads them tells when they are
			return 0, nil
		}
		found, again = append(found, named...), plan.Again(ing)
	}
	for _, f := range c.news(key, ing.UID, found) {
		if err := c.pace.Wait(ctx); err != nil {
			return 0, nil // the end
		}
		c.events.Event(ing, plan.Kind(f), f.Code, f.Message())
	}
	return again, nil
}

// ofNamed are the findings about the Secrets and ConfigMaps that an Ingress names, complete once all of these have been read.
func (c *Controller) ofNamed(ing *networkingv1.Ingress) (found []ingress.Finding, complete bool) {
	complete = true
	found = ingress.Secrets(ing, func(name types.NamespacedName) *corev1.Secret {
		secret, known := c.follows.Secrets.Get(name)
		complete = complete && known
		return secret
	}, c.now())
	found = append(found, ingress.ConfigMaps(ing, func(name types.NamespacedName) *corev1.ConfigMap {
		m, known := c.follows.ConfigMaps.Get(name)
		complete = complete && known
		return m
	})...)
	return found, complete
}

// news are the findings that were not said before.
func (c *Controller) news(key types.NamespacedName, uid types.UID, found []ingress.Finding) []ingress.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.said[key]
	if s == nil || s.uid != uid {
		s = &said{uid: uid}
	}
	news := s.of.News(found, func(reason, message string) bool {
		was := event{uid, reason, message}
		defer delete(c.before, was) // once
		return c.before[was]
	})
	if delete(c.said, key); len(s.of) > 0 {
		c.said[key] = s
	}
	return news
}

// recall reads what people were told before the program started, so that they are not told again. Events are kept for an hour.
func (c *Controller) recall(ctx context.Context) {
	said, err := kube.Posted(ctx, c.client, Component)
	if err != nil {
		c.log.Warn("what was said of Ingresses before is not known, and will be said again", "err", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = make(map[event]bool, len(said))
	for i := range said {
		e := &said[i]
		c.before[event{e.InvolvedObject.UID, e.Reason, e.Message}] = true
	}
}
