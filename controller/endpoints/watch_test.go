package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/controller/endpoints/sample"
	"fairlead.dev/fairlead/kube"
)

// queued returns which Services a loop has been asked to look at, and empties its queue.
func queued[V kube.Object](l *loop[V]) string {
	var names []string
	for l.queue.Len() > 0 {
		key, _ := l.queue.Get()
		names = append(names, key.Name)
		l.queue.Done(key)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestE14_WhichPodChangesMatter(t *testing.T) {
	c := &Controller{
		slicesLoop:    newLoop[*discoveryv1.EndpointSlice]("slices", lastRetry, slog.New(slog.DiscardHandler)),
		endpointsLoop: newLoop[*corev1.Endpoints]("endpoints", lastRetry, slog.New(slog.DiscardHandler)),
	}
	defer c.slicesLoop.queue.ShutDown()
	defer c.endpointsLoop.queue.ShutDown()
	c.selectors.Set(key("default", "web"), map[string]string{"app": "web"})
	c.selectors.Set(key("default", "blue"), map[string]string{"color": "blue"})
	c.selectors.Set(key("default", "green"), map[string]string{"color": "green"})
	c.selectors.Set(key("elsewhere", "web2"), map[string]string{"app": "web"})

	blue := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web", "color": "blue"} }
	green := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web", "color": "green"} }
	for _, e := range []struct {
		name   string
		before []func(*corev1.Pod)
		after  []func(*corev1.Pod)
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"an annotation", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }}, ""},
		{"when it became ready", nil, []func(*corev1.Pod){func(p *corev1.Pod) { sample.SetReady(p, true, sample.Epoch.Add(time.Hour)) }}, ""},
		{"a container starts", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{}} }}, ""},
		{"readiness", nil, []func(*corev1.Pod){sample.Unready}, "web"},
		{"deletion", nil, []func(*corev1.Pod){sample.Terminating}, "web"},
		{"the end", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }}, "web"},
		{"an address", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.PodIPs = nil }}, "web"},
		{"the host name", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname = "h" }}, "web"},
		{"the subdomain", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Subdomain = "web" }}, "web"},
		{"another pod of the same name", nil, []func(*corev1.Pod){func(p *corev1.Pod) { p.UID = "other" }}, "web"},
		{"labels alone: those that it enters and leaves", []func(*corev1.Pod){blue}, []func(*corev1.Pod){green}, "blue green"},
		{"labels and readiness: all of them", []func(*corev1.Pod){blue}, []func(*corev1.Pod){green, sample.Unready}, "blue green web"},
	} {
		before, after := sample.Pod("a", "10.0.0.1", e.before...), sample.Pod("a", "10.0.0.1", e.after...)
		c.podChanged(before, after, false)
		if slices, endpoints := queued(c.slicesLoop), queued(c.endpointsLoop); slices != e.want || endpoints != e.want {
			t.Errorf("%s: slices of %q, Endpoints of %q, want %q", e.name, slices, endpoints, e.want)
		}
	}
	same := sample.Pod("a", "10.0.0.1", sample.Unready)
	c.podChanged(nil, same, true)
	c.podChanged(same, nil, false)
	if got := queued(c.slicesLoop); got != "web" {
		t.Errorf("a pod comes and goes: %q", got)
	}
}
