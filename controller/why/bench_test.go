package why

//lint:file-ignore SA1019 v1 Endpoints are what the benchmarks are about.

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/record"
)

const benchServices = 50_000

// full is a controller over 50 000 Services, of which pods, 4 each, are behind the healthy ones.
func full(b *testing.B, healthy bool) *Controller {
	b.Helper()
	c := New(nil, informers.NewSharedInformerFactory(nil, 0), nil, nil, slog.New(slog.DiscardHandler))
	b.Cleanup(c.queue.ShutDown)
	c.events = record.NewFakeRecorder(1)
	c.after = func(time.Duration) time.Duration { return time.Hour }
	for i := range benchServices {
		app := fmt.Sprint("app-", i)
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("ns-", i%100), Name: app, UID: types.UID(app)},
			Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
				Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		if err := c.services.GetStore().Add(svc); err != nil {
			b.Fatal(err)
		}
		for j := range 4 {
			if !healthy {
				break
			}
			pod := webPod(svc.Namespace)
			pod.Name, pod.Labels = fmt.Sprint(app, "-", j), svc.Spec.Selector
			if err := c.pods.GetStore().Add(pod); err != nil {
				b.Fatal(err)
			}
		}
	}
	return c
}

// BenchmarkLook is one look at one of 50 000 Services.
func BenchmarkLook(b *testing.B) {
	for name, healthy := range map[string]bool{"healthy": true, "without pods": false} {
		b.Run(name, func(b *testing.B) {
			c := full(b, healthy)
			before := heap()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.sync(types.NamespacedName{Namespace: fmt.Sprint("ns-", i%benchServices%100), Name: fmt.Sprint("app-", i%benchServices)})
				i++
			}
			b.ReportMetric(float64(heap()-before)/float64(min(i, benchServices)), "kept-B/service")
			b.ReportMetric(float64(len(c.known)), "known")
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
