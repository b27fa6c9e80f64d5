package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	routesHosts = 5000
	routesSpace = "routes"
	churnFor    = 10 * time.Second
)

// ingressAt is where the node serves Ingresses.
var ingressAt = netip.MustParseAddrPort(nodeAddr + ":80")

// routed is a cluster with an Ingress for each of many hosts. They lead to one of two Services, which answer with their names. Nothing
// runs in pods: endpoints are servers in the bench's own process.
type routed struct {
	*cluster
	backends map[string][]netip.AddrPort // of each Service: two that answer alike
}

// routes measures how soon a changed Ingress is answered by, among thousands, at rest and under load, and what changes cost those who
// use what is changed.
func (o options) routes(ctx context.Context, runs int) (rows []row, err error) {
	w := &routed{backends: map[string][]netip.AddrPort{}}
	for i, service := range []string{"blue", "blue", "green", "green"} {
		at := netip.AddrPortFrom(netip.MustParseAddr(nodeAddr), uint16(5381+i))
		server, err := w.answerWith(service, at)
		if err != nil {
			return nil, err
		}
		defer server.Close()
		w.backends[service] = append(w.backends[service], at)
	}
	rows, err = routesAlone(ctx, w.backends, runs*40)
	if err != nil {
		return rows, err
	}
	if w.cluster, err = newCluster(ctx, o); err != nil {
		return rows, err
	}
	defer w.down(context.WithoutCancel(ctx))
	made, err := w.fill(ctx)
	if err != nil {
		return rows, err
	}
	rows = append(rows, made)
	floor, err := w.watchLatency(ctx, runs*20, 0)
	if err != nil {
		return rows, err
	}
	took, first, err := w.switches(ctx, runs*40)
	if err != nil {
		return rows, fmt.Errorf("at rest: %w", err)
	}
	row := func(what string, baseline string) row {
		return row{fmt.Sprintf("Ingress written -> right answer, %s hosts%s", thousands(routesHosts), what), percentiles(took),
			fmt.Sprintf("%s; right in the very next request: %d of %d", baseline, first, len(took)), within(10*time.Millisecond, 30*time.Millisecond, took)}
	}
	rows = append(rows, row("", "write -> watch event: "+percentiles(floor)))
	load, err := w.under(ctx, 2*churnFor, hostOfRoute(0), func(ctx context.Context) error {
		took, first, err = w.switches(ctx, runs*40)
		return err
	})
	if err != nil {
		return rows, fmt.Errorf("under load: %w", err)
	}
	rows = append(rows, row(", under load", fmt.Sprintf("%s requests/s meanwhile, %d failed", thousands(load.rate()), load.failed)))
	churned, err := w.churned(ctx)
	return append(rows, churned), err
}

func hostOfRoute(i int) string { return fmt.Sprintf("host-%d.example", i) }

// answerWith starts a server that answers with a word.
func (w *routed) answerWith(word string, at netip.AddrPort) (*http.Server, error) {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, word) })}
	go server.Serve(l)
	return server, nil
}

// fill creates the Services and the Ingresses, and waits until the last of these is served.
func (w *routed) fill(ctx context.Context) (row, error) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: routesSpace}}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return row{}, err
	}
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"}}
	if _, err := w.client.NetworkingV1().IngressClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return row{}, err
	}
	for name, at := range w.backends {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
		if _, err := w.client.CoreV1().Services(routesSpace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return row{}, err
		}
		if _, err := w.client.DiscoveryV1().EndpointSlices(routesSpace).Create(ctx, sliceAt(name, at...), metav1.CreateOptions{}); err != nil {
			return row{}, err
		}
	}
	w.settle(ctx)
	before, _ := w.program()
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(clients)
	for i := range routesHosts {
		g.Go(func() error {
			_, err := w.client.NetworkingV1().Ingresses(routesSpace).Create(ctx, ingressOf(i, "blue"), metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return row{}, err
	}
	written := time.Since(start)
	q, err := askAt(ctx, ingressAt)
	if err != nil {
		return row{}, err
	}
	defer q.Close()
	for i := routesHosts - clients; i < routesHosts; i++ {
		if _, err := q.until(ctx, hostOfRoute(i), "blue"); err != nil {
			return row{}, err
		}
	}
	took := time.Since(start)
	w.settle(ctx)
	after, _ := w.program()
	each := float64(after-before) / routesHosts / 1024
	return row{fmt.Sprintf("%s Ingresses created, %d clients, until the last is served", thousands(routesHosts), clients),
		fmt.Sprintf("%s, %s after the last was written; memory (RSS) of the whole program: %.1f kB for each", show(took), show(took-written), each), "-", budget{}}, nil
}

func ingressOf(i int, service string) *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("i%d", i), Namespace: routesSpace}, Spec: networkingv1.IngressSpec{
		IngressClassName: ptr.To("fairlead"),
		Rules: []networkingv1.IngressRule{{Host: hostOfRoute(i), IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: 80}}}}}}}}},
	}}
}

// sliceAt is a Service's only slice. Its endpoints are on one address and differ by port, so only the first one's port can be in it.
func sliceAt(service string, at ...netip.AddrPort) *discoveryv1.EndpointSlice {
	s := plainSlice(service, at[0].Addr().String())
	s.Namespace = routesSpace
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(at[0].Port()))}}
	return s
}

// switches changes n times where a random host leads and asks until the answer is right. It returns how long that took after each write
// was acknowledged, and how often the first answer was right.
func (w *routed) switches(ctx context.Context, n int) (took []time.Duration, first int, err error) {
	q, err := askAt(ctx, ingressAt)
	if err != nil {
		return nil, 0, err
	}
	defer q.Close()
	for len(took) < n {
		i := 1 + rand.IntN(routesHosts-1)
		for _, to := range []string{"green", "blue"} {
			if err := w.lead(ctx, i, to); err != nil {
				return took, first, err
			}
			begin := time.Now()
			tries, err := q.until(ctx, hostOfRoute(i), to)
			if err != nil {
				return took, first, err
			}
			took = append(took, time.Since(begin))
			if tries == 1 {
				first++
			}
		}
	}
	return took, first, nil
}

// lead has a host lead to a Service. The Ingress's status is written by others meanwhile, which is no conflict here.
func (w *routed) lead(ctx context.Context, i int, service string) error {
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/http/paths/0/backend/service/name","value":%q}]`, service)
	_, err := w.client.NetworkingV1().Ingresses(routesSpace).Patch(ctx, fmt.Sprintf("i%d", i), "application/json-patch+json", []byte(patch), metav1.PatchOptions{})
	return err
}

// under has 64 connections ask for a host while f runs, and for as long as given at most.
func (w *routed) under(ctx context.Context, most time.Duration, host string, f func(context.Context) error) (served, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c64", fmt.Sprintf("-d%ds", int(most.Seconds())), "--latency", "--timeout", "10s", "-H", "Host: "+host,
		"http://"+ingressAt.String()+"/")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it prints what it has
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	var out []byte
	go func() {
		var err error
		out, err = cmd.Output()
		ended <- err
	}()
	time.Sleep(time.Second / 2)
	failed := f(ctx)
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		failed = errors.Join(failed, fmt.Errorf("wrk (setup/install bench): %w", err))
	}
	took := time.Since(start)
	s, err := readWrk(string(out))
	s.took = took
	return s, errors.Join(failed, err)
}

// churned has a host lead from one Service to the other, and Services from one endpoint to the other, as quickly as they can be written,
// while clients use it. All endpoints serve all the time, so that nothing need fail.
func (w *routed) churned(ctx context.Context) (row, error) {
	var changes atomic.Int64
	load, err := w.under(ctx, 2*churnFor, hostOfRoute(0), func(ctx context.Context) error {
		var g errgroup.Group
		end := time.Now().Add(churnFor)
		g.Go(func() error {
			for n := 0; time.Now().Before(end); n++ {
				if err := w.lead(ctx, 0, []string{"green", "blue"}[n%2]); err != nil {
					return err
				}
				changes.Add(1)
			}
			return nil
		})
		for name, at := range w.backends {
			g.Go(func() error {
				for n := 1; time.Now().Before(end); n++ {
					s := sliceAt(name, at[n%2])
					if _, err := w.client.DiscoveryV1().EndpointSlices(routesSpace).Update(ctx, s, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
						return err
					}
					changes.Add(1)
				}
				return nil
			})
		}
		return g.Wait()
	})
	return row{fmt.Sprintf("failed requests and answers 5xx while a route and its endpoints change %s times in %s", thousands(int(changes.Load())), brief(churnFor)),
		fmt.Sprintf("%d of %s", load.failed, thousands(load.requests)), "-", held("none", load.failed == 0)}, err
}

// asker asks over one connection.
type asker struct {
	net.Conn
	r *bufio.Reader
}

// askAt connects to where Ingresses are served, which may be so only once there is one.
func askAt(ctx context.Context, at netip.AddrPort) (*asker, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
		if err == nil {
			return &asker{c, bufio.NewReader(c)}, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
}

// until asks for a host until the answer is a word, ten seconds at most. It returns how often it asked.
func (q *asker) until(ctx context.Context, host, word string) (tries int, err error) {
	q.SetDeadline(time.Now().Add(10 * time.Second))
	for ctx.Err() == nil {
		tries++
		if _, err := fmt.Fprintf(q, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			return tries, err
		}
		answer, err := http.ReadResponse(q.r, nil)
		if err != nil {
			return tries, fmt.Errorf("host %s, which is to answer %q: %w", host, word, err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return tries, err
		}
		if answer.StatusCode == http.StatusOK && string(body) == word {
			return tries, nil
		}
	}
	return tries, ctx.Err()
}
