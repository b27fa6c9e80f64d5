package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/ingress"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// aloneAt is where the engine of routesAlone serves.
var aloneAt = netip.MustParseAddrPort(nodeAddr + ":5380")

// handed is Ingresses in memory, made into a table and served in this process, without an API server.
type handed struct {
	ingresses map[types.NamespacedName]*networkingv1.Ingress
	builder   *ingress.Builder
	engine    *l7.Engine
}

// routesAlone measures what a table of many hosts takes, and how soon the engine answers by a changed one.
func routesAlone(ctx context.Context, backends map[string][]netip.AddrPort, n int) ([]row, error) {
	h := &handed{ingresses: map[types.NamespacedName]*networkingv1.Ingress{}, engine: l7.New(l7.Config{}, slog.New(slog.DiscardHandler))}
	defer h.engine.Shutdown(context.WithoutCancel(ctx))
	services := map[types.NamespacedName]*corev1.Service{}
	for name, at := range backends {
		full := types.NamespacedName{Namespace: routesSpace, Name: name}
		services[full] = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: routesSpace, Name: name},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
		h.engine.Endpoints(full, 80, []lb.Backend{{Addr: at[0]}})
	}
	h.builder = ingress.NewBuilder(ingress.World{
		Ingress: func(name types.NamespacedName) *networkingv1.Ingress { return h.ingresses[name] },
		Class: func(name string) *networkingv1.IngressClass {
			return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"}}
		},
		Service: func(name types.NamespacedName) *corev1.Service { return services[name] },
		Secret:  func(types.NamespacedName) *corev1.Secret { return nil },
	}, ingress.Ports{HTTP: aloneAt.Port(), HTTPS: aloneAt.Port() + 1})
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(aloneAt))
	if err != nil {
		return nil, err
	}
	if _, err := h.engine.Listen(l, l7.At(route.Point{Port: aloneAt.Port()})); err != nil {
		return nil, err
	}
	filled := h.fill()
	took, err := h.switches(ctx, n)
	return []row{filled, {fmt.Sprintf("changed Ingress handed over -> right answer, the engine alone, %s hosts", thousands(routesHosts)), percentiles(took), "-", budget{}}}, err
}

// fill hands over all Ingresses at once.
func (h *handed) fill() row {
	empty := heapInUse()
	all := make([]types.NamespacedName, routesHosts)
	for i := range all {
		ing := ingressOf(i, "blue")
		all[i] = types.NamespacedName{Namespace: routesSpace, Name: ing.Name}
		h.ingresses[all[i]] = ing
	}
	objects := heapInUse()
	start := time.Now()
	h.builder.Update(ingress.Changes{Ingresses: all})
	h.serve()
	took := time.Since(start)
	each := float64(heapInUse()-objects) / routesHosts / 1024
	runtime.KeepAlive(h)
	return row{fmt.Sprintf("memory for each route of %s, all that the engine keeps", thousands(routesHosts)), fmt.Sprintf("%.1f kB; made in %s", each, show(took)),
		fmt.Sprintf("the object: %.1f kB", float64(objects-empty)/routesHosts/1024), held("<= 8 kB", each <= 8)}
}

func (h *handed) serve() {
	plain, secure := h.builder.Entries()
	h.engine.Serve(&route.Table{Entries: map[route.Point]*route.Entry{plain.Point: plain, secure.Point: secure}})
}

// switches changes n times where a random host leads, and asks until the answer is right.
func (h *handed) switches(ctx context.Context, n int) (took []time.Duration, err error) {
	q, err := askAt(ctx, aloneAt)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	for len(took) < n {
		i := rand.IntN(routesHosts)
		for _, to := range []string{"green", "blue"} {
			ing := ingressOf(i, to)
			name := types.NamespacedName{Namespace: routesSpace, Name: ing.Name}
			begin := time.Now()
			h.ingresses[name] = ing
			h.builder.Update(ingress.Changes{Ingresses: []types.NamespacedName{name}})
			h.serve()
			if _, err := q.until(ctx, hostOfRoute(i), to); err != nil {
				return took, err
			}
			took = append(took, time.Since(begin))
		}
	}
	return took, nil
}
