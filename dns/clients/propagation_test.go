package clients

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/dns"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/world"
)

// BenchmarkPropagation creates Services by the API and asks for each until the answer is right: how long that takes after
// the API server acknowledged the Service, and of how many the very first question was answered right. The server has
// a connection of its own to the API server, as every node's has; here both are in one process.
func BenchmarkPropagation(b *testing.B) {
	cfg := apitest.Start(b)
	cfg.QPS, cfg.Burst = 10000, 10000
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		b.Fatal(err)
	}
	w := world.New()
	at := netip.MustParseAddrPort("127.0.0.1:15353")
	s := dns.New(dns.Config{Addrs: []netip.AddrPort{at}, Domain: "cluster.local"}, w, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go w.Run(ctx, client)
	go s.Run(ctx)
	<-s.Ready()
	c, err := miekg.Dial("udp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	right := func(name string) bool {
		q := new(miekg.Msg).SetQuestion(name, miekg.TypeA)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if err := c.WriteMsg(q); err != nil {
			b.Fatal(err)
		}
		m, err := c.ReadMsg()
		if err != nil {
			b.Fatal(err)
		}
		return len(m.Answer) == 1
	}
	var took []time.Duration
	first := 0
	for b.Loop() {
		for range 200 {
			name := fmt.Sprintf("s%d", len(took))
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
			if _, err := client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
			begin := time.Now()
			if right(name + ".default.svc.cluster.local.") {
				first++
			} else {
				for !right(name + ".default.svc.cluster.local.") {
				}
			}
			took = append(took, time.Since(begin))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(100*float64(first)/float64(len(took)), "first-%")
}
