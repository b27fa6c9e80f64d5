package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	dials     = 3000 // for each address
	rateFor   = 700 * time.Millisecond
	rateTimes = 3
	pathSpace = "path"
)

// server is a real pod behind a Service, reached directly and through the Service.
type server struct{ pod, service netip.AddrPort }

func (c *cluster) server(ctx context.Context) (server, error) {
	var s server
	if _, err := c.client.CoreV1().Services(pathSpace).Get(ctx, "web", metav1.GetOptions{}); err != nil {
		if err := c.apply(ctx, namespace(pathSpace)+web(pathSpace, "web", 1, "")); err != nil {
			return s, err
		}
	}
	if err := c.ready(ctx, pathSpace, 1); err != nil {
		return s, err
	}
	name, err := c.runningPod(ctx, pathSpace)
	if err != nil {
		return s, err
	}
	pod, err := c.client.CoreV1().Pods(pathSpace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return s, err
	}
	s = server{pod: netip.AddrPortFrom(addr, 80), service: netip.MustParseAddrPort("10.96.0.77:80")}
	return s, answer(ctx, "http://"+s.service.String()+"/")
}

// path measures connections from the node to a pod: directly and through a Service, and the same through rulesets of
// kube-proxy's shape, from a namespace of its own.
func (w *crowd) path(ctx context.Context, _ int) ([]row, error) {
	s, err := w.server(ctx)
	if err != nil {
		return nil, err
	}
	rows, more, err := through(ctx, "ClusterIP, "+thousands(w.services)+" Services", true, s.pod, s.service)
	if err != nil {
		return nil, err
	}
	if w.firstPath == 0 {
		w.firstPath, w.more = w.services, more
	} else {
		grown := more - w.more
		rows = append(rows, row{fmt.Sprintf("what a Service adds to connect with %s Services, beyond what it adds with %s", thousands(w.services), thousands(w.firstPath)),
			micros(grown), fmt.Sprintf("with %s: %s", thousands(w.firstPath), micros(w.more)), held("<= "+brief(most/2)+": flat", grown <= most/2)})
	}
	services := min(w.services, mostShaped)
	k, err := newKubeProxyShape(s.amongOthers(services))
	if err != nil {
		return rows, err
	}
	defer k.remove()
	err = k.do(func() error {
		more, _, err := through(ctx, fmt.Sprintf("kube-proxy-shaped rules, %s Services", thousands(services)), false, s.pod, s.service)
		rows = append(rows, more...)
		return err
	})
	return rows, err
}

// amongOthers is the server's Service in kube-proxy's shape, with others, n in all.
func (s server) amongOthers(n int) []shaped {
	all := make([]shaped, 0, n)
	for i := range n - 1 {
		all = append(all, shapedService(i, endpointAddrs(2*i, 2)))
	}
	return append(all, shaped{number: n, addr: s.service.Addr(), backends: []netip.AddrPort{s.pod, s.pod}})
}

// most is how much longer a connection through a Service may take than the direct one, as the median.
const most = 10 * time.Microsecond

// through compares the way over a Service's address with the direct one, and returns what connect takes more.
func through(ctx context.Context, what string, ours bool, direct, service netip.AddrPort) ([]row, time.Duration, error) {
	if _, err := compare(ctx, dials/10, direct, service); err != nil { // warm
		return nil, 0, err
	}
	took, err := compare(ctx, dials, direct, service)
	if err != nil {
		return nil, 0, err
	}
	var perSecond [2]float64
	for range rateTimes {
		for i, to := range []netip.AddrPort{direct, service} {
			n, err := rate(1, rateFor, to)
			if err != nil {
				return nil, 0, err
			}
			perSecond[i] += n / rateTimes
		}
	}
	line := func(name string, a, b []time.Duration) row {
		more := median(a) - median(b)
		r := row{what: name + ", " + what, figure: percentiles(a) + ": " + micros(more), baseline: "direct to the pod: " + percentiles(b)}
		if ours {
			r.budget = held("within "+brief(most), more <= most)
		}
		return r
	}
	return []row{
		line("connect (first packet and its answer)", took[1].open, took[0].open),
		line("connect and close", took[1].whole, took[0].whole),
		{"HTTP requests, each on a new connection, one client, " + what, fmt.Sprintf("%.0f/s", perSecond[1]), fmt.Sprintf("direct to the pod: %.0f/s", perSecond[0]), budget{}},
	}, median(took[1].open) - median(took[0].open), nil
}

// micros shows a difference.
func micros(d time.Duration) string { return fmt.Sprintf("%+.1f us", float64(d.Nanoseconds())/1000) }
