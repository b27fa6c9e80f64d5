package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/controller/endpoints/sample"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

// One flip of one pod costs one write of each kind, and an irrelevant change costs none.
func TestR37_OneFlipIsOneWrite(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, sample.Pods(0, 150)...)
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
	s.updatePod(t, "p0007", sample.Unready)
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
	t.Parallel()
	c := startCluster(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, sample.Pods(0, 250)...)
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
	t.Parallel()
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

// flipLate flips 120 pods at random while the watches of what the loops write are late, and returns how it ends.
func flipLate(t *testing.T) (s *space, ready map[string]bool) {
	t.Helper()
	t.Parallel()
	c := startCluster(t)
	w, _ := c.run(t)
	s = c.space(t)
	s.createService(t)
	pods := sample.Pods(0, 120)
	s.createPods(t, pods...)
	w.lag.Store(int64(30 * time.Millisecond))
	random := rand.New(rand.NewPCG(1, 1))
	ready = map[string]bool{}
	for _, pod := range pods {
		ready[pod.Name] = true
	}
	for range 150 {
		name := pods[random.IntN(len(pods))].Name
		ready[name] = random.IntN(2) == 0
		s.updatePod(t, name, func(p *corev1.Pod) { sample.SetReady(p, ready[name], sample.Epoch) })
	}
	return s, ready
}

// No flip is lost when the cache is behind the loop's own writes.
func TestE37_LateWatchesOfEndpoints(t *testing.T) {
	s, ready := flipLate(t)
	until(t, func() bool {
		ep, err := s.client.CoreV1().Endpoints(s.name).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || len(ep.Subsets) != 1 {
			return false
		}
		seen := map[string]bool{}
		for _, a := range ep.Subsets[0].Addresses {
			seen[a.TargetRef.Name] = true
		}
		for _, a := range ep.Subsets[0].NotReadyAddresses {
			seen[a.TargetRef.Name] = false
		}
		return maps.Equal(seen, ready)
	}, func() string { return fmt.Sprint(s.objectLines(t, "web")) })
	if events := s.events(t, "web"); len(events) > 0 {
		t.Errorf("the loop takes its own writes for those of somebody else: %v", events)
	}
}

// While the watches are late, nothing is created twice and no flip is lost.
func TestE68_LateWatches(t *testing.T) {
	s, ready := flipLate(t)
	until(t, func() bool {
		seen := map[string]int{}
		for _, slice := range s.slices(t, "web") {
			for _, ep := range slice.Endpoints {
				name := ep.TargetRef.Name
				if *ep.Conditions.Ready != ready[name] {
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

// A failure is told where people look, does not stop other Services, and is tried again until it succeeds.
func TestE36_FailedEndpointsAreTold(t *testing.T) { testFailure(t, "FailedToCreateEndpoint") }

func TestE72_FailedSlicesAreTold(t *testing.T) { testFailure(t, "FailedToUpdateEndpointSlices") }

func testFailure(t *testing.T, reason string) {
	t.Parallel()
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
	until(t, func() bool {
		return slices.ContainsFunc(broken.events(t, "web"), func(line string) bool {
			return strings.Contains(line, " "+reason+" ") && strings.HasSuffix(line, "out of order")
		})
	}, func() string { return "no event " + reason })
	w.refuse(nil)
	eventually(t, broken.sliceLines, "web", "IPv4 ->")
	eventually(t, broken.objectLines, "web")
}

// A mirror that could not be written is written later; between tries at most 100 seconds pass.
func TestE109_MirrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	var tries atomic.Int32
	w.refuse(func(r *http.Request) error {
		if write(r, "endpointslices") && tries.Add(1) <= 5 {
			return errors.New("out of order")
		}
		return nil
	})
	s.createService(t, func(svc *corev1.Service) { svc.Spec.Selector = nil })
	ep := sample.HandWritten(sample.Subset([]string{"10.5.0.1"}, 2379))
	ep.ObjectMeta = metav1.ObjectMeta{Name: "web"}
	if _, err := s.client.CoreV1().Endpoints(s.name).Create(t.Context(), ep, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready)")
	if n := tries.Load(); n < 6 {
		t.Errorf("%d tries, five of them failed", n)
	}
}

// The API server goes away and comes back, with what has changed meanwhile.
func TestAPIServerRestarts(t *testing.T) {
	t.Parallel()
	cfg := apitest.Config(t, t.TempDir())
	_, stop := apitest.Run(t, cfg)
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: "tester", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	admin := &rest.Config{Host: "https://" + cfg.Bind.String(), QPS: -1, // the server's own token ends with it
		TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
	c := connect(t, admin)
	c.createNode(t, "n1", "a")
	c.run(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2"))
	eventually(t, s.objectLines, "web", "10.0.0.1 10.0.0.2 : http:8080/TCP")
	stop()
	apitest.Run(t, cfg)
	s.updatePod(t, "a", sample.Unready)
	s.deletePods(t, "b")
	s.createPods(t, sample.Pod("c", "10.0.0.3"))
	eventually(t, s.objectLines, "web", "10.0.0.3 !10.0.0.1 : http:8080/TCP")
	until(t, func() bool {
		seen := map[string]bool{}
		for _, slice := range s.slices(t, "web") {
			for _, ep := range slice.Endpoints {
				seen[ep.TargetRef.Name] = *ep.Conditions.Ready
			}
		}
		return maps.Equal(seen, map[string]bool{"a": false, "c": true})
	}, func() string { return fmt.Sprint(s.sliceLines(t, "web")) })
}
