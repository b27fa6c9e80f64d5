package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/host/netns"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/world"
)

const (
	namesServices = 2000
	namesSpace    = "names"
)

var (
	clusterDNS = netip.MustParseAddrPort("10.96.0.10:53")
	upstreamAt = netip.MustParseAddrPort(nodeAddr + ":5303") // asked about names of example
	leastAt    = netip.MustParseAddrPort(nodeAddr + ":5302") // the server of the baseline
)

// names measures the DNS server of a real cluster from behind a link like a pod's: how many queries it answers and what
// each costs, how long a client waits, what many Services cost, and how soon a change is answered. The baseline is the
// least server that can be written with github.com/miekg/dns: it looks names up in a map, in the bench's own process.
func (o options) names(ctx context.Context, runs int) ([]row, error) {
	rows, err := o.namesHere(ctx, runs)
	if err != nil {
		return rows, err
	}
	more, err := tableMemory(ctx)
	if rows = append(rows, more...); err != nil {
		return rows, err
	}
	more, err = o.namesElsewhere(ctx, runs)
	return append(rows, more...), err
}

// namesHere is what can be measured on one node.
func (o options) namesHere(ctx context.Context, runs int) ([]row, error) {
	outside, err := startLeast(upstreamAt, nil, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	defer outside.stop()
	c, err := newCluster(ctx, o, "--dns-stub", "example="+upstreamAt.String())
	if err != nil {
		return nil, err
	}
	defer c.down(context.WithoutCancel(ctx))
	pod, err := newClient()
	if err != nil {
		return nil, fmt.Errorf("a client: %w", err)
	}
	defer pod.remove()
	if err := c.manyServices(ctx, namesServices); err != nil {
		return nil, err
	}
	c.settle(ctx)
	known := append(names(namesServices, "svc-%d."), "www.corp.example", "api.corp.example", "www.other.example")
	least, err := startLeast(leastAt, known, upstreamAt)
	if err != nil {
		return nil, err
	}
	defer least.stop()
	rows, err := floods(ctx, c, pod)
	if err != nil {
		return rows, err
	}
	more, err := waits(pod)
	if rows = append(rows, more...); err != nil {
		return rows, err
	}
	took, first, err := c.soon(ctx, pod.netns, runs*60)
	if err != nil {
		return rows, err
	}
	return append(rows, row{
		"slice written -> right answer, API server and DNS in one process", percentiles(took),
		fmt.Sprintf("right in the very next query: %d of %d", first, len(took)), held("every next query", first == len(took))}), nil
}

// namesElsewhere is how soon another node answers what was written.
func (o options) namesElsewhere(ctx context.Context, runs int) ([]row, error) {
	c, err := newCluster(ctx, o, "--nodes", "2")
	if err != nil {
		return nil, err
	}
	defer c.down(context.WithoutCancel(ctx))
	if err := c.manyServices(ctx, 1); err != nil {
		return nil, err
	}
	took, first, err := c.soon(ctx, filepath.Join(c.dir, "netns", "node2"), runs*60)
	if err != nil {
		return nil, err
	}
	return []row{{"slice written -> right answer on another node", percentiles(took),
		fmt.Sprintf("right in the very next query: %d of %d", first, len(took)), within(50*time.Millisecond, 50*time.Millisecond, took)}}, nil
}

// names are n names of the cluster's zone, made by a format of a number.
func names(n int, format string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i) + namesSpace + ".svc.cluster.local"
	}
	return all
}

// manyServices creates Services in a namespace of their own, each with an endpoint: nothing is wrong with them.
func (c *cluster) manyServices(ctx context.Context, n int) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namesSpace}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			s, err := c.client.CoreV1().Services(namesSpace).Create(ctx, plainService(i, ""), metav1.CreateOptions{})
			if err == nil {
				_, err = c.client.DiscoveryV1().EndpointSlices(namesSpace).Create(ctx, plainSlice(s.Name, endpointAddr(i).String()), metav1.CreateOptions{})
			}
			return err
		})
	}
	return g.Wait()
}

// settle waits until the program has done what follows from new objects, half a minute at most.
func (c *cluster) settle(ctx context.Context) {
	for end := time.Now().Add(30 * time.Second); ctx.Err() == nil && time.Now().Before(end); {
		before := c.cpu()
		time.Sleep(time.Second)
		if c.cpu()-before <= 50*time.Millisecond {
			return
		}
	}
}

func plainService(i int, ip string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namesSpace, Name: fmt.Sprintf("svc-%d", i)},
		Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
}

func plainSlice(service string, addrs ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namesSpace, Name: service + "-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: service}}, AddressType: discoveryv1.AddressTypeIPv4}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// soon changes the address of a headless Service n times and asks inside a namespace until the answer is the new one. It
// returns how long that took after each write was acknowledged, and how often the first answer was right.
func (c *cluster) soon(ctx context.Context, space string, n int) (took []time.Duration, first int, err error) {
	const name = "soon"
	headless := plainService(0, "None")
	headless.Name = name
	if _, err := c.client.CoreV1().Services(namesSpace).Create(ctx, headless, metav1.CreateOptions{}); err != nil {
		return nil, 0, err
	}
	slices := c.client.DiscoveryV1().EndpointSlices(namesSpace)
	s, err := slices.Create(ctx, plainSlice(name, "10.9.255.255"), metav1.CreateOptions{})
	if err != nil {
		return nil, 0, err
	}
	q, err := dialIn(space, clusterDNS)
	if err != nil {
		return nil, 0, err
	}
	defer q.Close()
	for i := range n {
		want := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		s.Endpoints[0].Addresses = []string{want.String()}
		if s, err = slices.Update(ctx, s, metav1.UpdateOptions{}); err != nil {
			return took, first, err
		}
		begin := time.Now()
		for tries := 0; ; tries++ {
			got, err := q.address(name + "." + namesSpace + ".svc.cluster.local.")
			if err != nil || time.Since(begin) > 10*time.Second {
				return took, first, errors.Join(err, fmt.Errorf("change %d: want %v, got %v", i, want, got))
			}
			if got == want {
				if tries == 0 {
					first++
				}
				break
			}
		}
		took = append(took, time.Since(begin))
	}
	return took, first, nil
}

// tableMemory is what a server holds for 50 000 Services with two endpoints each, besides the objects.
func tableMemory(ctx context.Context) ([]row, error) {
	const services = 50000
	empty := heapInUse()
	w := world.New()
	w.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namesSpace}})
	ip := netip.MustParseAddr("10.97.0.0")
	for i := range services {
		ip = ip.Next()
		w.Put(plainService(i, ip.String()))
		w.Put(plainSlice(fmt.Sprintf("svc-%d", i), endpointAddr(2*i).String(), endpointAddr(2*i+1).String()))
	}
	w.MarkSynced()
	objects := heapInUse()
	s := dns.New(dns.Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5304")}, Domain: "cluster.local"}, w, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		return nil, errors.Join(errors.New("server of 50 000 Services"), err)
	}
	table := heapInUse()
	cancel()
	err := <-ended
	runtime.KeepAlive(w)
	mb := func(n int) string { return fmt.Sprintf("%.0f MB", float64(n)/(1<<20)) }
	return []row{{"memory of the table of " + thousands(services) + " Services, 2 endpoints each", mb(table - objects), "the objects: " + mb(objects-empty),
		held("< 150 MB", table-objects < 150<<20)}}, err
}

// client is a network namespace behind a link like a pod's.
type client struct{ dir, netns string }

func newClient() (c client, err error) {
	if c.dir, err = os.MkdirTemp("", "fairlead-bench-"); err != nil {
		return c, err
	}
	c.netns = filepath.Join(c.dir, "netns")
	err = netns.Create(c.netns)
	if err == nil {
		err = linkTo(c.netns, "bench2", netip.MustParsePrefix("10.244.255.1/24"), netip.MustParsePrefix("10.244.255.2/24"))
	}
	if err != nil {
		c.remove()
	}
	return c, err
}

func (c client) remove() {
	netns.Remove(c.netns)
	os.RemoveAll(c.dir)
}

// mix is what clients ask for.
type mix struct {
	what  string
	names []string
	own   bool // the baseline's processor time says nothing
}

func mixes() []mix {
	walk := make([]string, 0, 4)
	for _, search := range []string{"." + namesSpace + ".svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""} {
		walk = append(walk, "www.corp.example"+search)
	}
	fresh := make([]string, 200000)
	for i := range fresh {
		fresh[i] = fmt.Sprintf("n%d.load.example", i)
	}
	return []mix{
		{"one name", names(1, "svc-%d."), false},
		{thousands(namesServices) + " names", names(namesServices, "svc-%d."), false},
		{"names that do not exist", names(namesServices, "no-%d."), false},
		{"a search-list walk (4 names, the last forwarded)", walk, false},
		{"forwarded, kept", []string{"www.corp.example", "api.corp.example", "www.other.example"}, false},
		{"forwarded, each asked upstream", fresh, true},
	}
}

// lines is a file of names for dnsperf.
func (m mix) lines() string { return strings.Join(m.names, " A\n") + " A\n" }
