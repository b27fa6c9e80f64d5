package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

const (
	step    = 10   // endpoints that a scaled Service gets, and loses again
	counted = 5000 // endpoints have their connections counted, as on a real node
)

// proxied is a Proxy with its Services, in the network namespace of this process.
type proxied struct {
	size
	world *world.World
	proxy *nft.Proxy
}

// measureProxy runs a Proxy as a node does, and feeds its World as the watches do.
func (s size) measureProxy(ctx context.Context) (m measured, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := world.New()
	x := &proxied{size: s, world: w, proxy: nft.New(nft.Config{
		NodeName: "bench", NodeIPs: []netip.Addr{netip.MustParseAddr(nodeAddr)}, ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, CountUpTo: counted,
	}, w, slog.New(slog.NewTextHandler(os.Stderr, nil)))}
	go heap.Tend(ctx)
	ended := make(chan error, 1)
	go func() { ended <- x.proxy.Run(ctx) }()
	defer func() {
		cancel()
		if failed := <-ended; err == nil {
			err = failed
		}
	}()
	if err := x.load(ctx, &m); err != nil {
		return m, err
	}
	if err := x.change(ctx, &m); err != nil {
		return m, err
	}
	return m, x.changeAll(ctx, &m)
}

// load hands over all objects and waits until the kernel has them.
func (x *proxied) load(ctx context.Context, m *measured) error {
	group, empty := memoryGroup{x.Group}, heapInUse()
	services, slices := make([]*corev1.Service, x.Services), make([]*discoveryv1.EndpointSlice, x.Services)
	for i := range services {
		services[i], slices[i] = x.service(i), x.slice(i, x.Endpoints)
	}
	objects := heapInUse()
	before, err := group.kernel()
	if err != nil {
		return err
	}
	start, cpu := time.Now(), usedBy(unix.RUSAGE_SELF)
	for i := range services {
		x.world.Put(services[i])
		x.world.Put(slices[i])
	}
	x.world.MarkSynced()
	if err := x.until(ctx, func(s nft.Stats) bool { return s.Services == x.Services && s.Pending.IsZero() }); err != nil {
		return err
	}
	stats := x.proxy.Stats()
	m.Whole, m.Load, m.CPU, m.Peak = stats.Updated.Sub(start), stats.Last, usedBy(unix.RUSAGE_SELF)-cpu, statusOf("VmHWM")
	time.Sleep(time.Second) // the kernel frees what only the transaction needed
	after, err := group.kernel()
	m.Kernel, m.Objects, m.Books = after-before, objects-empty, heapInUse()-objects
	runtime.KeepAlive(services)
	return err
}

func (x *proxied) service(i int) *corev1.Service {
	s := service(name(i))
	s.Namespace, s.Spec.Type = "default", corev1.ServiceTypeClusterIP
	s.Spec.ClusterIP = serviceAddr(i).String()
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	return s
}

func (x *proxied) slice(i, endpoints int) *discoveryv1.EndpointSlice {
	s := sliceFor(name(i), endpointAddrs(i*(x.Endpoints+step), endpoints)...)
	s.Namespace = "default"
	return s
}

func name(i int) string { return fmt.Sprint("s", i) }

// change takes an endpoint from a Service and gives it back, and scales it up and down, one Service after the other.
func (x *proxied) change(ctx context.Context, m *measured) error {
	changes, stop, err := kernelChanges()
	if err != nil {
		return err
	}
	defer stop()
	for round := range x.Changes {
		i := round * 7919 % x.Services
		for _, to := range []struct {
			endpoints int
			took      *[]time.Duration
		}{{x.Endpoints - 1, &m.Change}, {x.Endpoints, &m.Change}, {x.Endpoints + step, &m.Step}, {x.Endpoints, &m.Step}} {
			noticed, err := x.put(ctx, changes, i, to.endpoints)
			if err != nil {
				return err
			}
			*to.took = append(*to.took, x.proxy.Stats().Last)
			if to.took == &m.Change {
				m.Notice = append(m.Notice, noticed)
			}
		}
	}
	return nil
}

// put gives Service number i so many endpoints, and returns how long it took until the kernel announced it.
func (x *proxied) put(ctx context.Context, changes chan time.Time, i, endpoints int) (time.Duration, error) {
	slice, service := x.slice(i, endpoints), types.NamespacedName{Namespace: "default", Name: name(i)}
	before := x.proxy.Applied(service)
	drain(changes)
	start := time.Now()
	x.world.Put(slice)
	select {
	case at := <-changes:
		return at.Sub(start), x.until(ctx, func(nft.Stats) bool { return x.proxy.Applied(service) != before })
	case <-time.After(patience):
		return 0, fmt.Errorf("service %s with %d endpoints did not reach the kernel in %s", service, endpoints, patience)
	}
}

// changeAll takes an endpoint from every Service at once, as when a node goes.
func (x *proxied) changeAll(ctx context.Context, m *measured) error {
	slices := make([]*discoveryv1.EndpointSlice, x.Services)
	for i := range slices {
		slices[i] = x.slice(i, x.Endpoints-1)
	}
	before := x.proxy.Stats()
	start := time.Now()
	for _, s := range slices {
		x.world.Put(s)
	}
	err := x.until(ctx, func(s nft.Stats) bool { return s.Elements == before.Elements-x.Services && s.Pending.IsZero() })
	after := x.proxy.Stats()
	m.All, m.Rewrites = after.Updated.Sub(start), after.Rewrites
	return err
}

// until waits for the Proxy to have come somewhere.
func (x *proxied) until(ctx context.Context, there func(nft.Stats) bool) error {
	for !there(x.proxy.Stats()) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: the proxy is at %+v", context.Cause(ctx), x.proxy.Stats())
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

// heapInUse is what is in use of this process's heap, in bytes.
func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
