package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/kube"
)

// sync brings the objects of one Service into the state that its annotations and the answers ask for.
func (c *Controller) sync(ctx context.Context, key types.NamespacedName) (again time.Duration, err error) {
	v := c.view(key)
	if v.service == nil || len(v.service.Spec.Selector) > 0 || v.service.DeletionTimestamp != nil {
		c.forget(key)
		return 0, nil
	}
	if _, probed := v.service.Annotations[AnnotationProbe]; !probed {
		c.forget(key)
		return 0, c.write(ctx, planWrites(v, nil)) // everything that was taken out comes back
	}
	w, told, wait := c.judge(key, v)
	if wait > 0 {
		return wait, nil
	}
	err = c.write(ctx, w)
	for _, e := range told {
		if err == nil || !e.written {
			c.events.Event(v.service, e.kind, e.reason, e.text)
		}
	}
	return 0, err
}

// forget ends the probes of a Service.
func (c *Controller) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.memories, key)
}

// judge takes in what is true about a Service and plans what to write and to tell, or says how long to wait before that.
func (c *Controller) judge(key types.NamespacedName, v view) (w writes, told []event, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, now := c.memories[key], time.Now()
	if m == nil {
		m = newMemory()
		c.memories[key] = m
	}
	seats := v.seats()
	r, err := understand(v.service, seats)
	if err != nil {
		m.rule = nil
		if m.complaint != err.Error() {
			m.complaint = err.Error()
			told = append(told, event{kind: corev1.EventTypeWarning, reason: "InvalidProbe", text: m.complaint})
		}
		return w, told, 0
	}
	m.complaint = ""
	m.follow(r, writtenOf(v.service))
	m.list(seats, v.service, now)
	c.book(key, m, now)

	out, kept := planOut(seats, m.standings(), r.keep)
	w = planWrites(v, out)
	if left := m.wrote.Add(pace).Sub(now); left > 0 && !w.none() {
		return writes{}, nil, left
	}
	if !w.none() {
		m.wrote = now
	}
	told = changes(w, m, kept, v.service.Annotations[AnnotationKeep])
	m.kept = kept
	return w, told, 0
}

// understand reads the rule of a Service.
func understand(svc *corev1.Service, seats []seat) (*rule, error) {
	if svc.Namespace == metav1.NamespaceDefault && svc.Name == "kubernetes" {
		return nil, fmt.Errorf("annotation %s: Forbidden: the API server itself keeps the endpoints of this Service", AnnotationProbe)
	}
	r, err := parseRule(svc.Annotations)
	if err != nil {
		return nil, err
	}
	return r, r.fits(seats, svc)
}

func writtenOf(svc *corev1.Service) string {
	return svc.Annotations[AnnotationProbe] + "\x00" + svc.Annotations[AnnotationKeep]
}

// write brings a plan into the API. Each object is written on its own; a conflict means that the plan is old, as does an object
// that is gone.
func (c *Controller) write(ctx context.Context, w writes) error {
	if w.endpoints != nil {
		if _, err := c.client.CoreV1().Endpoints(w.endpoints.Namespace).Update(ctx, w.endpoints, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("endpoints %s: %w", w.endpoints.Name, late(err))
		}
	}
	for _, slice := range w.slices {
		if _, err := c.client.DiscoveryV1().EndpointSlices(slice.Namespace).Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("endpoint slice %s: %w", slice.Name, late(err))
		}
	}
	return nil
}

// late marks that an object is gone as what the cache will show in a moment.
func late(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w for the cache: %w", kube.ErrWaiting, err)
	}
	return err
}

// event is something to tell about a Service.
type event struct {
	kind, reason, text string
	written            bool // true only once the plan has been written
}

const (
	maxEvents = 8   // about addresses, of one kind and of one look at a Service; the others are counted
	maxText   = 300 // of a failure
)

// changes puts into words what happens to the endpoints of a Service.
func changes(w writes, m *memory, kept map[string]bool, keep string) []event {
	why := func(name string) string {
		text := m.failure(name)
		if len(text) > maxText {
			text = text[:maxText] + "..."
		}
		if text == "" {
			return fmt.Sprintf("Endpoint %s failed its probe before", name)
		}
		return fmt.Sprintf("Endpoint %s failed its probe: %s", name, text)
	}
	var all []event
	all = tell(all, w.left, event{kind: corev1.EventTypeWarning, reason: "Unhealthy", written: true},
		func(name string) string { return why(name) + "; it gets no traffic" },
		"%d more endpoints failed their probe; they get no traffic")
	all = tell(all, w.comes, event{kind: corev1.EventTypeNormal, reason: "Healthy", written: true},
		func(name string) string {
			if kept[name] {
				return fmt.Sprintf("Endpoint %s gets traffic again although it fails its probe, because %s is %s", name, AnnotationKeep, keep)
			}
			return fmt.Sprintf("Endpoint %s answers again", name)
		}, "%d more endpoints answer again")
	fresh := map[string]bool{}
	for name := range kept {
		fresh[name] = !m.kept[name] && !w.comes[name]
	}
	maps.DeleteFunc(fresh, func(_ string, is bool) bool { return !is })
	return tell(all, fresh, event{kind: corev1.EventTypeWarning, reason: "Unhealthy"},
		func(name string) string {
			return fmt.Sprintf("%s; it keeps its traffic, because %s is %s", why(name), AnnotationKeep, keep)
		}, "%d more endpoints failed their probe; they keep their traffic, because of "+AnnotationKeep)
}

func tell(all []event, names map[string]bool, like event, text func(string) string, rest string) []event {
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i == maxEvents {
			like.text = fmt.Sprintf(rest, len(names)-maxEvents)
			return append(all, like)
		}
		like.text = text(name)
		all = append(all, like)
	}
	return all
}
