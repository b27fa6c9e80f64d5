package main

//lint:file-ignore SA1019 v1 Endpoints are one of the two kinds that are measured.

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	kernel            // the kernel has announced that its endpoints are with, or without, the pod
	hops
)

// flip is one change of a pod's readiness and when it was where.
type flip struct {
	pod    played
	ready  bool
	sent   time.Time
	at     [hops]time.Time
	unseen bool // the kernel's notice may have been lost
	left   int
	done   chan struct{} // closed when it has been everywhere, or is given up
}

// observer follows flips through the cluster. A pod flips when its flip before is done, so that no two of one pod are under
// way: the second would undo the first before anybody has heard of it, and nothing would ever tell.
type observer struct {
	stop []func()

	mu     sync.Mutex       // guards below
	flips  map[string]*flip // under way, by pod
	writes [hops]int        // events of the kinds that the controller writes
}

func newObserver() *observer { return &observer{flips: map[string]*flip{}} }

func (w *crowd) observe(ctx context.Context) (*observer, error) {
	version, err := w.settled(ctx)
	if err != nil {
		return nil, err
	}
	o, from := newObserver(), strconv.Itoa(version)
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
	stop, err := watchKernel(o.committed)
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
		ready := states(event.Object)
		o.mu.Lock()
		o.writes[h]++
		for name, is := range ready {
			if f := o.flips[name]; f != nil && f.ready == is {
				o.reached(f, h, now)
			}
		}
		o.mu.Unlock()
	}
}

// states is what an object says about the readiness of pods.
func states(obj runtime.Object) map[string]bool {
	ready := map[string]bool{}
	switch obj := obj.(type) {
	case *corev1.Pod:
		for _, c := range obj.Status.Conditions {
			if c.Type == corev1.PodReady {
				ready[obj.Name] = c.Status == corev1.ConditionTrue
			}
		}
	case *discoveryv1.EndpointSlice:
		for _, e := range obj.Endpoints {
			if e.TargetRef != nil {
				ready[e.TargetRef.Name] = *e.Conditions.Ready
			}
		}
	case *corev1.Endpoints:
		for _, s := range obj.Subsets {
			for _, a := range s.Addresses {
				ready[a.TargetRef.Name] = true
			}
			for _, a := range s.NotReadyAddresses {
				ready[a.TargetRef.Name] = false
			}
		}
	}
	return ready
}

// committed finds the flips that the kernel has with a transaction. A change of a Service moves elements that lead to its
// other endpoints, too: what counts is whether more or fewer of them lead to the pod than before.
func (o *observer) committed(c commit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.flips {
		more := c.endpoints[f.pod.addr]
		switch {
		case c.lost:
			f.unseen = true
			o.reached(f, kernel, c.at)
		case c.anew && (more > 0) == f.ready, f.ready && more > 0, !f.ready && more < 0:
			o.reached(f, kernel, c.at)
		}
	}
}

// begin puts a flip under way once the pod's flip before is done.
func (o *observer) begin(f *flip) {
	f.left, f.done = int(hops), make(chan struct{})
	o.mu.Lock()
	for before := o.flips[f.pod.name]; before != nil; before = o.flips[f.pod.name] {
		o.mu.Unlock()
		<-before.done
		o.mu.Lock()
	}
	o.flips[f.pod.name] = f
	f.sent = time.Now()
	o.mu.Unlock()
}

// reached notes that a flip was seen somewhere for the first time. The caller holds mu.
func (o *observer) reached(f *flip, h hop, at time.Time) {
	if !f.at[h].IsZero() {
		return
	}
	f.at[h] = at
	if f.left--; f.left == 0 {
		o.finish(f)
	}
}

// finish takes a flip out of those under way. The caller holds mu.
func (o *observer) finish(f *flip) {
	if o.flips[f.pod.name] == f {
		delete(o.flips, f.pod.name)
		close(f.done)
	}
}

// answered notes that the request that a flip began with has returned.
func (o *observer) answered(f *flip, at time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.finish(f)
		return
	}
	o.reached(f, acked, at)
}

// giveUp ends a flip that has not been everywhere in time, and says where it has not been.
func (o *observer) giveUp(f *flip) error {
	o.mu.Lock()
	o.finish(f)
	seen := f.at
	o.mu.Unlock()
	var missing []string
	for h, name := range [hops]string{"answer", "pod", "slice", "Endpoints", "kernel"} {
		if seen[h].IsZero() {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil // just now
	}
	has, err := kernelHas(f.pod.addr)
	kernelSays := fmt.Sprintf("the kernel's endpoints have it: %t", has)
	if err != nil {
		kernelSays = fmt.Sprintf("the kernel's endpoints cannot be listed: %v", err)
	}
	return fmt.Errorf("pod %s ready=%t: not seen in %s: %s; %s", f.pod.name, f.ready, patience, strings.Join(missing, ", "), kernelSays)
}
