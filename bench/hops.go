package main

//lint:file-ignore SA1019 v1 Endpoints are one of the two kinds that are measured.

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// hop is a station of a change.
type hop int

const (
	acked  hop = iota // the write of the pod's status has returned
	pod               // a watch shows the pod's new status
	slice             // a watch shows the EndpointSlice
	object            // a watch shows the Endpoints object
	kernel            // the kernel has announced the change of the Service's rule
	hops
)

// flip is one change of a pod's readiness and when it was where.
type flip struct {
	target *target
	pod    string
	ready  bool
	sent   time.Time
	at     [hops]time.Time
	left   int
	done   chan struct{} // closed when it has been everywhere
}

// observer follows flips through the cluster.
type observer struct {
	stop []func()

	mu     sync.Mutex         // guards below
	flips  map[string][]*flip // under way, by Service
	writes [hops]int          // events of the kinds that the controller writes
}

func (w *crowd) observe(ctx context.Context) (*observer, error) {
	o := &observer{flips: map[string][]*flip{}}
	version, err := w.revision(ctx)
	if err != nil {
		return nil, err
	}
	from := strconv.Itoa(version)
	for h, start := range map[hop]func(context.Context, metav1.ListOptions) (watch.Interface, error){
		pod: w.client.CoreV1().Pods(crowdSpace).Watch, slice: w.client.DiscoveryV1().EndpointSlices(crowdSpace).Watch,
		object: w.client.CoreV1().Endpoints(crowdSpace).Watch,
	} {
		events, err := toolswatch.NewRetryWatcherWithContext(ctx, from, &cache.ListWatch{WatchFuncWithContext: start})
		if err != nil {
			o.end()
			return nil, err
		}
		o.stop = append(o.stop, events.Stop)
		go o.follow(h, events)
	}
	stop, err := watchKernel(o.kernelChanged)
	if err != nil {
		o.end()
		return nil, err
	}
	o.stop = append(o.stop, stop)
	return o, nil
}

func (o *observer) end() {
	for _, stop := range o.stop {
		stop()
	}
}

func (o *observer) follow(h hop, events watch.Interface) {
	for event := range events.ResultChan() {
		now := time.Now()
		service, ready := states(event.Object)
		o.mu.Lock()
		o.writes[h]++
		for _, f := range slices.Clone(o.flips[service]) {
			if is, ok := ready[f.pod]; ok && is == f.ready {
				o.reached(f, h, now)
			}
		}
		o.mu.Unlock()
	}
}

// states is which Service an object belongs to, and what it says about the readiness of that Service's pods.
func states(obj runtime.Object) (service string, ready map[string]bool) {
	ready = map[string]bool{}
	switch obj := obj.(type) {
	case *corev1.Pod:
		service = obj.Labels["app"]
		for _, c := range obj.Status.Conditions {
			if c.Type == corev1.PodReady {
				ready[obj.Name] = c.Status == corev1.ConditionTrue
			}
		}
	case *discoveryv1.EndpointSlice:
		service = obj.Labels[discoveryv1.LabelServiceName]
		for _, e := range obj.Endpoints {
			ready[e.TargetRef.Name] = *e.Conditions.Ready
		}
	case *corev1.Endpoints:
		service = obj.Name
		for _, s := range obj.Subsets {
			for _, a := range s.Addresses {
				ready[a.TargetRef.Name] = true
			}
			for _, a := range s.NotReadyAddresses {
				ready[a.TargetRef.Name] = false
			}
		}
	}
	return service, ready
}

// kernelChanged finds the flips of the Service whose address the element has. An element does not say which pod it is
// about: of two changes of one Service under way at once, both count as arrived.
func (o *observer) kernelChanged(at time.Time, message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, flips := range o.flips {
		if bytes.Contains(message, flips[0].target.addr[:]) {
			for _, f := range slices.Clone(flips) {
				o.reached(f, kernel, at)
			}
		}
	}
}

// reached notes that a flip was seen somewhere for the first time. The caller holds mu.
func (o *observer) reached(f *flip, h hop, at time.Time) {
	if !f.at[h].IsZero() {
		return
	}
	f.at[h] = at
	if f.left--; f.left == 0 {
		o.forget(f)
		close(f.done)
	}
}

// forget takes a flip out of those under way. The caller holds mu.
func (o *observer) forget(f *flip) {
	name := f.target.name
	o.flips[name] = slices.DeleteFunc(o.flips[name], func(other *flip) bool { return other == f })
	if len(o.flips[name]) == 0 {
		delete(o.flips, name)
	}
}

// flip switches the readiness of one of a target's pods and waits until all has followed.
func (w *crowd) flip(ctx context.Context, o *observer, t *target, pod string, ready bool) (*flip, error) {
	f := &flip{target: t, pod: pod, ready: ready, left: int(hops), done: make(chan struct{})}
	status := map[bool]string{true: "True", false: "False"}[ready]
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
	o.mu.Lock()
	o.flips[t.name] = append(o.flips[t.name], f)
	f.sent = time.Now()
	o.mu.Unlock()
	client := w.clients[int(t.addr[3])%len(w.clients)]
	_, err := client.CoreV1().Pods(crowdSpace).Patch(ctx, pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	now := time.Now()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.reached(f, acked, now)
	o.mu.Unlock()
	select {
	case <-f.done:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		o.mu.Lock()
		defer o.mu.Unlock()
		o.forget(f)
		return nil, fmt.Errorf("service %s: pod %s ready=%s: %d of %d stations not reached in %s: %v", t.name, pod, status, f.left, hops, patience, f.at)
	}
}

// hops times single changes, one after the other, at every station, and counts what they cost the store.
func (w *crowd) hops(ctx context.Context, runs int) ([]row, error) {
	o, err := w.observe(ctx)
	if err != nil {
		return nil, err
	}
	defer o.end()
	n := 40 * runs
	before, err := w.revision(ctx)
	if err != nil {
		return nil, err
	}
	var flips []*flip
	for i := range n {
		t := &w.measured[i/2%len(w.measured)]
		f, err := w.flip(ctx, o, t, t.pods[0], i%2 == 1)
		if err != nil {
			return nil, err
		}
		flips = append(flips, f)
		time.Sleep(10 * time.Millisecond) // what followed from the change before has settled
	}
	after, err := w.revision(ctx)
	if err != nil {
		return nil, err
	}
	floor, err := w.watchLatency(ctx, n)
	if err != nil {
		return nil, err
	}
	size := thousands(w.services) + " Services"
	return append(w.stations(flips, "at "+size, "write -> watch event: "+percentiles(floor)),
		row{"writes for one pod change, at " + size, o.costs(n, after-before), "-", held("the slices touched + Endpoints", o.frugal(n))}), nil
}

// stations are the rows of some flips.
func (w *crowd) stations(flips []*flip, when, baseline string) []row {
	took := map[string][]time.Duration{}
	add := func(name string, from, to time.Time) { took[name] = append(took[name], max(0, to.Sub(from))) }
	for _, f := range flips {
		add("whole", f.sent, f.at[kernel])
		add("acked", f.sent, f.at[acked])
		add("pod", f.sent, f.at[pod])
		add("slice", f.at[pod], f.at[slice])
		add("object", f.at[pod], f.at[object])
		add("kernel", f.at[slice], f.at[kernel])
		add("fromStatus", f.at[pod], f.at[kernel])
	}
	return []row{
		{"pod status change (Ready seen on a watch) -> kernel rule, " + when, percentiles(took["fromStatus"]), baseline, within(10*time.Millisecond, 50*time.Millisecond, took["fromStatus"])},
		{"the same from the request that changes it, " + when, percentiles(took["whole"]), "as above", budget{}},
		{"its hops (p50 / p99), " + when, fmt.Sprintf("request -> answer %s; -> pod seen %s; -> slice seen %s, Endpoints seen %s; slice -> kernel %s",
			pair(took["acked"]), pair(took["pod"]), pair(took["slice"]), pair(took["object"]), pair(took["kernel"])), "as above", budget{}},
	}
}

// costs says what n flips, one write each, cost by the events that a watch has shown and by the store's revision.
func (o *observer) costs(n, revisions int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	per := func(k int) float64 { return float64(k) / float64(n) }
	others := revisions - o.writes[pod] - o.writes[slice] - o.writes[object]
	return fmt.Sprintf("%.2f EndpointSlice, %.2f Endpoints (and the pod itself %.2f; %d other writes in the store meanwhile)",
		per(o.writes[slice]), per(o.writes[object]), per(o.writes[pod]), others)
}

// frugal reports whether n flips were not more than one write each of a slice and of the Endpoints.
func (o *observer) frugal(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writes[slice] <= n && o.writes[object] <= n
}

// revision is the store's: it counts every write.
func (c *cluster) revision(ctx context.Context) (int, error) {
	list, err := c.client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(list.ResourceVersion)
}

// flap changes flapRate pods a second for flapFor, half of them to ready, and times each. The pods of one Service change
// far enough apart to be told from each other.
func (w *crowd) flap(ctx context.Context, _ int) ([]row, error) {
	o, err := w.observe(ctx)
	if err != nil {
		return nil, err
	}
	defer o.end()
	before, err := w.revision(ctx)
	if err != nil {
		return nil, err
	}
	total := int(flapFor/time.Second) * flapRate
	flips, failed := make([]*flip, total), make([]error, total)
	cpu := w.cpu()
	var group sync.WaitGroup
	tick := time.NewTicker(time.Second / flapRate)
	defer tick.Stop()
	for i := range total {
		<-tick.C
		pods := 2 * len(w.measured)
		t, j, round := &w.measured[i%len(w.measured)], i/len(w.measured)%2, i/pods
		group.Go(func() { flips[i], failed[i] = w.flip(ctx, o, t, t.pods[j], round%2 == 1) })
	}
	group.Wait()
	cpu = w.cpu() - cpu
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if len(failed) > total/2 {
		return nil, fmt.Errorf("%d of %d changes failed, such as: %w", len(failed), total, failed[0])
	}
	flips = slices.DeleteFunc(flips, func(f *flip) bool { return f == nil })
	after, err := w.revision(ctx)
	if err != nil {
		return nil, err
	}
	size := thousands(w.services) + " Services"
	when := fmt.Sprintf("at %s while %d endpoints flap at %d/s", size, 2*len(w.measured), flapRate)
	rows := w.stations(flips, when, "-")
	if len(failed) > 0 {
		rows[0].figure += fmt.Sprintf("; %d more not within %s", len(failed), patience)
	}
	return append(rows,
		row{"writes for one pod change, " + when, o.costs(total, after-before), "-", held("the slices touched + Endpoints", o.frugal(total))},
		row{"processor time of the program for one pod change, " + when, show(cpu / time.Duration(total)), "-", budget{}}), nil
}

const (
	// patience is how long a change may take to be everywhere.
	patience = 20 * time.Second
	flapRate = 100
	flapFor  = 20 * time.Second
)
