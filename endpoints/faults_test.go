package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// One flip of one pod costs one write of each kind, and an irrelevant change costs none.
func TestR37_OneFlipIsOneWrite(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, webPods(0, 150)...)
	until(t, func() bool { lines := s.objectLines(t, "web"); return len(lines) == 1 && len(s.slices(t, "web")) == 2 }, func() string { return "not settled" })
	until(t, func() bool {
		total := 0
		for _, slice := range s.slices(t, "web") {
			total += len(slice.Endpoints)
		}
		ep, err := c.client.CoreV1().Endpoints(s.name).Get(t.Context(), "web", metav1.GetOptions{})
		return total == 150 && err == nil && len(ep.Subsets[0].Addresses) == 150
	}, func() string { return "not settled" })
	settle(t, w)
	before := w.writes.Load()
	s.updatePod(t, "p0007", func(p *corev1.Pod) { p.Status.Message = "nothing that matters" })
	s.updatePod(t, "p0007", unready)
	until(t, func() bool { return w.writes.Load() >= before+2 }, func() string { return "no write" })
	settle(t, w)
	if n := w.writes.Load() - before; n != 2 {
		t.Errorf("%d writes, want one slice and one Endpoints object", n)
	}
}

// settle waits until nothing has been written for longer than a loop rechecks.
func settle(t *testing.T, w *wire) {
	t.Helper()
	quiet, last := time.Now(), w.writes.Load()
	until(t, func() bool {
		if n := w.writes.Load(); n != last {
			quiet, last = time.Now(), n
		}
		return time.Since(quiet) > recheckDelay+recheckDelay/2
	}, func() string { return "writes without end" })
}

// A controller that dies between two writes leaves a state that the next one completes.
func TestRestartBetweenTwoWrites(t *testing.T) {
	c := startCluster(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, webPods(0, 250)...)
	for _, allowed := range []int32{1, 1, 0, 3} {
		w, stop := c.run(t)
		var count atomic.Int32
		refused := make(chan struct{}, 1000)
		w.refuse(func(r *http.Request) error {
			if !write(r, "endpointslices") || count.Add(1) <= allowed {
				return nil
			}
			refused <- struct{}{}
			return errors.New("cut off")
		})
		if allowed < 3 {
			<-refused
			stop()
			continue
		}
		eventually(t, s.sliceLines, "web",
			"IPv4 http:8080/TCP -> 100 endpoints", "IPv4 http:8080/TCP -> 100 endpoints", "IPv4 http:8080/TCP -> 50 endpoints")
	}
}

// Endpoints without a Service are removed at start, locks are not (rule E34).
func TestE34_OrphansAreRemovedAtStart(t *testing.T) {
	c := startCluster(t)
	s := c.space(t)
	for name, annotations := range map[string]map[string]string{
		"orphan": nil,
		"lock":   {"control-plane.alpha.kubernetes.io/leader": "{}"},
	} {
		ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
		if _, err := c.client.CoreV1().Endpoints(s.name).Create(t.Context(), ep, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t)
	eventually(t, s.objectLines, "orphan", "none")
	eventually(t, s.objectLines, "lock")
}

// While the watches are late, nothing is created twice and no flip is lost (rules E37 and E68).
func TestE68_LateWatches(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.createService(t)
	pods := webPods(0, 120)
	s.createPods(t, pods...)
	w.lag.Store(int64(30 * time.Millisecond))
	random := rand.New(rand.NewPCG(1, 1))
	ready := map[string]bool{}
	for range 150 {
		name := pods[random.IntN(len(pods))].Name
		ready[name] = random.IntN(2) == 0
		s.updatePod(t, name, func(p *corev1.Pod) { setReady(p, ready[name], epoch) })
	}
	until(t, func() bool {
		seen := map[string]int{}
		for _, slice := range s.slices(t, "web") {
			for _, ep := range slice.Endpoints {
				name := ep.TargetRef.Name
				if want, flipped := ready[name]; flipped && *ep.Conditions.Ready != want {
					return false
				}
				seen[name]++
			}
		}
		for name, n := range seen {
			if n != 1 {
				t.Fatalf("%s is in %d slices", name, n)
			}
		}
		return len(seen) == 120
	}, func() string { return "slices do not follow" })
	if n := len(s.slices(t, "web")); n != 2 {
		t.Errorf("%d slices, want 2", n)
	}
}

// A failure is told where people look, and does not stop other Services (rule E72).
func TestE36_E72_EventsOnTheService(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	broken, sound := c.space(t), c.space(t)
	w.refuse(func(r *http.Request) error {
		if write(r, "") && strings.Contains(r.URL.Path, "/"+broken.name+"/") {
			return errors.New("out of order")
		}
		return nil
	})
	broken.createService(t)
	sound.createService(t)
	eventually(t, sound.sliceLines, "web", "IPv4 ->")
	for _, reason := range []string{"FailedToUpdateEndpointSlices", "FailedToCreateEndpoint"} {
		until(t, func() bool {
			events, err := c.client.CoreV1().Events(broken.name).List(context.Background(), metav1.ListOptions{})
			return err == nil && slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
				return e.Reason == reason && e.Type == corev1.EventTypeWarning && e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Name == "web"
			})
		}, func() string { return "no event " + reason })
	}
	w.refuse(nil)
	eventually(t, broken.sliceLines, "web", "IPv4 ->")
	eventually(t, broken.objectLines, "web")
}
