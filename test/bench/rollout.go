package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	rolled      = 100 // pods
	loadClients = 8
)

// rollout replaces 100 pods behind one Service while clients use it. The pods serve on for two seconds after they are told
// to end, by a preStop hook, as an application must that wants to lose no request on any Kubernetes. Some clients connect to the
// Service, as many to an Ingress.
func (c *cluster) rollout(ctx context.Context, _ int) ([]row, error) {
	ns := "rollout"
	if err := c.apply(ctx, namespace(ns)+web(ns, "web", rolled, "")+ingressFor(ns, "web")); err != nil {
		return nil, err
	}
	patch := `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":10,"containers":[{"name":"demoapp","lifecycle":{"preStop":{"sleep":{"seconds":2}}}}]}}}}`
	if err := c.patchAndWait(ctx, ns, patch, 5*time.Minute); err != nil {
		return nil, err
	}
	quiet := c.loads(ctx, func() { time.Sleep(5 * time.Second) })
	start := time.Now()
	var err error
	used := c.loads(ctx, func() {
		err = c.patchAndWait(ctx, ns, `{"spec":{"template":{"metadata":{"annotations":{"bench":"again"}}}}}`, 5*time.Minute)
	})
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	var rows []row
	for i, where := range []string{"a Service", "an Ingress"} {
		rows = append(rows, row{fmt.Sprintf("rolling update of %d pods, requests of %d clients of %s that failed", rolled, loadClients, where),
			fmt.Sprintf("%s, in %s", used[i], show(took)), "no update: " + quiet[i].String(), held("none", used[i].failed == 0)})
	}
	return rows, c.gone(ctx, ns)
}

// ingressFor leads all hosts to a Service.
func ingressFor(namespace, service string) string {
	return fmt.Sprintf("---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %[2]s, namespace: %[1]s}\n"+
		"spec: {ingressClassName: fairlead, defaultBackend: {service: {name: %[2]s, port: {number: 80}}}}\n", namespace, service)
}

// loads has clients use the Service and the Ingress while f runs.
func (c *cluster) loads(ctx context.Context, f func()) (all [2]outcome) {
	all[0] = c.load(ctx, netip.MustParseAddrPort("10.96.0.77:80"), func() { all[1] = c.load(ctx, ingressAt, f) })
	return all
}

// patchAndWait changes a Deployment and waits until all its pods are of the new kind and ready, and no other is left.
func (c *cluster) patchAndWait(ctx context.Context, ns, patch string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := c.client.AppsV1().Deployments(ns).Patch(ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	for {
		if complete(d) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("deployment %s/web: %d of %d pods are new, %d ready: %w", ns, d.Status.UpdatedReplicas, *d.Spec.Replicas, d.Status.ReadyReplicas, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		if d, err = c.client.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{}); err != nil {
			return err
		}
	}
}

func complete(d *appsv1.Deployment) bool {
	s, want := d.Status, *d.Spec.Replicas
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.Replicas == want
}

// outcome counts the requests of a load.
type outcome struct {
	sent, failed int
	last         error
	slowest      time.Duration
}

func (o outcome) String() string {
	text := fmt.Sprintf("%d of %d (slowest %s)", o.failed, o.sent, show(o.slowest))
	if o.failed > 0 {
		text += fmt.Sprintf(", such as: %v", o.last)
	}
	return text
}

// load sends requests to an address from several clients, each on a connection of its own, while f runs. A client waits
// a little between its requests: the machine is to be busy with the update as well.
func (c *cluster) load(ctx context.Context, to netip.AddrPort, f func()) outcome {
	stop := make(chan struct{})
	var mu sync.Mutex
	var all outcome
	var group sync.WaitGroup
	for range loadClients {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				case <-time.After(5 * time.Millisecond):
				}
				start := time.Now()
				err := request(to)
				took := time.Since(start)
				mu.Lock()
				all.sent++
				all.slowest = max(all.slowest, took)
				if err != nil {
					all.failed++
					all.last = err
				}
				mu.Unlock()
			}
		})
	}
	f()
	close(stop)
	group.Wait()
	return all
}
