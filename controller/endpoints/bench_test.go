package endpoints

import (
	"fmt"
	"slices"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// What a pod event costs before anything is planned, with 50 000 Services around: in other
// namespaces, and in the pod's own.
func BenchmarkServicesOfAPod(b *testing.B) {
	for _, where := range []string{"elsewhere", "here"} {
		b.Run(where, func(b *testing.B) {
			var s Selectors
			for i := range 50_000 {
				s.Set(key(where, fmt.Sprint("svc", i)), map[string]string{"app": fmt.Sprint(i), "tier": "web"})
			}
			s.Set(key("here", "web"), map[string]string{"app": "web"})
			labels := map[string]string{"app": "web", "tier": "web", "pod-template-hash": "abc"}
			b.ReportAllocs()
			for b.Loop() {
				if len(s.Matching("here", labels)) != 1 {
					b.Fatal("the Service was not found")
				}
			}
		})
	}
}

// From the write of a pod's status to the event of its slice on a watch, with a real API server and
// a Service of some size. Three times: "send" from the end of the pod's write to the begin of the
// slice's, which is the controller; "seen" from the end of the pod's write to the event; "all" from
// its begin.
func BenchmarkFlip(b *testing.B) {
	c := startCluster(b)
	w, _ := c.run(b)
	for _, size := range []int{2, 100, 1000} {
		b.Run(fmt.Sprint(size, "-pods"), func(b *testing.B) {
			s := c.space(b)
			s.createService(b)
			s.createPods(b, sample.Pods(0, size)...)
			until(b, func() bool {
				total := 0
				for _, slice := range s.slices(b, "web") {
					total += len(slice.Endpoints)
				}
				return total == size
			}, func() string { return "no endpoints" })
			measureFlips(b, s, w)
		})
	}
}

func measureFlips(b *testing.B, s *space, w *wire) {
	events, err := s.client.DiscoveryV1().EndpointSlices(s.name).Watch(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer events.Stop()
	api := s.client.CoreV1().Pods(s.name)
	pod, err := api.Get(b.Context(), "p0001", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var send, seen, all []time.Duration
	ready := true
	for b.Loop() {
		ready = !ready
		sample.SetReady(pod, ready, time.Now())
		called := time.Now()
		if pod, err = api.UpdateStatus(b.Context(), pod, metav1.UpdateOptions{}); err != nil {
			b.Fatal(err)
		}
		returned := time.Now()
		at := awaitReady(b, events, pod.Name, ready)
		send = append(send, time.Duration(w.sent.Load()-returned.UnixNano()))
		seen, all = append(seen, at.Sub(returned)), append(all, at.Sub(called))
	}
	report := func(name string, times []time.Duration) {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	report("send", send)
	report("seen", seen)
	report("all", all)
}

// awaitReady returns when the pod's endpoint is seen with the wanted readiness.
func awaitReady(b *testing.B, events watch.Interface, pod string, ready bool) time.Time {
	deadline := time.After(patience)
	for {
		select {
		case <-deadline:
			b.Fatal("the slice does not change")
		case event, ok := <-events.ResultChan():
			if !ok {
				b.Fatal("the watch has ended")
			}
			slice, _ := event.Object.(*discoveryv1.EndpointSlice)
			if slice == nil || event.Type == watch.Deleted {
				continue
			}
			for i := range slice.Endpoints {
				if ep := &slice.Endpoints[i]; ep.TargetRef.Name == pod && *ep.Conditions.Ready == ready {
					return time.Now()
				}
			}
		}
	}
}
