package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

const (
	clients      = 16  // that create objects side by side, each on a connection of its own
	mostMeasured = 500 // Services that have a selector and two pods
	crowdSpace   = "crowd"
	playedNode   = "bench-pods" // has no agent: the bench plays it
)

// crowd is a cluster with many Services, each with one slice of two endpoints. The first mostMeasured have a selector and
// two pods on a node that the bench plays: it writes their status as an agent would, and the program does all the rest. The
// others have no selector and a slice written by hand, so that making them takes minutes less.
type crowd struct {
	*cluster
	clients  []kubernetes.Interface
	services int // so far
	measured []target
	rss, few int // of the program with the least number of Services measured, and that number
	ended    chan struct{}

	firstPath int           // Services when connections were first measured
	more      time.Duration // that a Service added to connect then
}

// target is a Service whose pods the bench plays.
type target struct {
	name string
	addr netip.Addr // its cluster address
	pods [2]played
}

// played is a pod that the bench plays.
type played struct {
	name string
	addr netip.Addr
}

func newCrowd(ctx context.Context, c *cluster) (*crowd, error) {
	w := &crowd{cluster: c, ended: make(chan struct{})}
	for range clients {
		client, err := c.another()
		if err != nil {
			return nil, err
		}
		w.clients = append(w.clients, client)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: crowdSpace}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	return w, w.playNode(ctx)
}

// another is a client with a connection of its own.
func (c *cluster) another() (kubernetes.Interface, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return dialing(cfg)
}

// dialing makes a client that shares its connection with no other: client-go keeps one for each way to dial.
func dialing(cfg *rest.Config) (kubernetes.Interface, error) {
	dialer := net.Dialer{}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	return kubernetes.NewForConfig(cfg)
}

// playNode makes the node that the measured pods are on, and keeps it alive. No real pod is put there.
func (w *crowd) playNode(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: playedNode},
		Spec:       corev1.NodeSpec{Unschedulable: true},
	}
	nodes := w.client.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	status := []byte(`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	if _, err := nodes.Patch(ctx, playedNode, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	leases := w.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: playedNode}}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To(playedNode), ptr.To[int32](40)
	lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
	lease, err := leases.Create(ctx, lease, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case <-time.After(10 * time.Second):
			case <-w.ended:
				return
			}
			lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
			if renewed, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err == nil {
				lease = renewed
			}
		}
	}()
	return nil
}

// grow makes Services until there are n, and returns what the bulk of them took.
func (w *crowd) grow(ctx context.Context, n int) (g growth, err error) {
	first, last := len(w.measured), min(n, mostMeasured)
	progress("grow to %d Services, %d of them with pods", n, last)
	added := make([]target, max(0, last-first))
	err = w.each(ctx, len(added), func(client kubernetes.Interface, i int) (err error) {
		added[i], err = makeTarget(ctx, client, first+i)
		return err
	})
	if err != nil {
		return g, err
	}
	w.measured = append(w.measured, added...)
	from := max(w.services, len(w.measured))
	progress("the other %d", n-from)
	start, cpu := time.Now(), w.cpu()
	err = w.each(ctx, n-from, func(client kubernetes.Interface, i int) error { return makeBulk(ctx, client, from+i) })
	if err == nil {
		w.services = n
	}
	return growth{objects: 2 * (n - from), took: time.Since(start), cpu: w.cpu() - cpu}, err
}

// each calls f for 0 to n-1 from all clients side by side.
func (w *crowd) each(ctx context.Context, n int, f func(kubernetes.Interface, int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, len(w.clients))
	for _, client := range w.clients {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(client, i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

// makeTarget makes Service number i with two ready pods.
func makeTarget(ctx context.Context, client kubernetes.Interface, i int) (target, error) {
	t := target{name: fmt.Sprintf("measured-%d", i)}
	service := service(t.name)
	service.Spec.Selector = map[string]string{"app": t.name}
	made, err := client.CoreV1().Services(crowdSpace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return t, err
	}
	if t.addr, err = netip.ParseAddr(made.Spec.ClusterIP); err != nil {
		return t, err
	}
	pods := client.CoreV1().Pods(crowdSpace)
	for j := range t.pods {
		p := played{fmt.Sprintf("%s-%d", t.name, j), endpointAddr(1<<20 + 2*i + j)}
		t.pods[j] = p
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: service.Spec.Selector},
			Spec:       corev1.PodSpec{NodeName: playedNode, Containers: []corev1.Container{{Name: "c", Image: "played"}}},
		}
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return t, err
		}
		status := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%[1]q,"podIPs":[{"ip":%[1]q}],"conditions":[{"type":"Ready","status":"True"}]}}`, p.addr)
		if _, err := pods.Patch(ctx, p.name, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
			return t, err
		}
	}
	return t, nil
}

// makeBulk makes Service number i and its slice.
func makeBulk(ctx context.Context, client kubernetes.Interface, i int) error {
	service := service(fmt.Sprintf("bulk-%d", i))
	if _, err := client.CoreV1().Services(crowdSpace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := client.DiscoveryV1().EndpointSlices(crowdSpace).Create(ctx, sliceFor(service.Name, endpointAddrs(2*i, 2)...), metav1.CreateOptions{})
	return err
}
