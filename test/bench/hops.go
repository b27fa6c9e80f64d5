package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// patience is how long a change may take to be everywhere.
	patience = 20 * time.Second
	flapRate = 100
	flapFor  = 20 * time.Second
)

// flip switches the readiness of one of a target's pods and waits until all has followed.
func (w *crowd) flip(ctx context.Context, o *observer, t *target, pod played, ready bool) (*flip, error) {
	f := &flip{pod: pod, ready: ready}
	status := map[bool]string{true: "True", false: "False"}[ready]
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
	client := w.clients[int(t.addr.As4()[3])%len(w.clients)]
	o.begin(f)
	_, err := client.CoreV1().Pods(crowdSpace).Patch(ctx, pod.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	o.answered(f, time.Now(), err)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		return f, o.giveUp(f)
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
	floor, err := w.watchLatency(ctx, n, 0)
	if err != nil {
		return nil, err
	}
	size := thousands(w.services) + " Services"
	return append(w.stations(flips, "at "+size, "write -> watch event: "+percentiles(floor)),
		o.costs(n, after-before, "writes for one pod change, at "+size)), nil
}

// stations are the rows of some flips.
func (w *crowd) stations(flips []*flip, when, baseline string) []row {
	took := map[string][]time.Duration{}
	add := func(name string, from, to time.Time) { took[name] = append(took[name], max(0, to.Sub(from))) }
	unseen := ""
	for _, f := range flips {
		if f.unseen {
			unseen = "; without those at whose time notices of the kernel were lost"
			continue
		}
		add("whole", f.sent, f.at[kernel])
		add("acked", f.sent, f.at[acked])
		add("pod", f.sent, f.at[pod])
		add("slice", f.at[pod], f.at[slice])
		add("object", f.at[pod], f.at[object])
		add("kernel", f.at[slice], f.at[kernel])
		add("fromStatus", f.at[pod], f.at[kernel])
	}
	return []row{
		{"pod status change (Ready seen on a watch) -> kernel rule, " + when, percentiles(took["fromStatus"]) + unseen, baseline, within(10*time.Millisecond, 50*time.Millisecond, took["fromStatus"])},
		{"the same from the request that changes it, " + when, percentiles(took["whole"]), "as above", budget{}},
		{"its hops (p50 / p99), " + when, fmt.Sprintf("request -> answer %s; -> pod seen %s; -> slice seen %s, Endpoints seen %s; slice -> kernel %s",
			pair(took["acked"]), pair(took["pod"]), pair(took["slice"]), pair(took["object"]), pair(took["kernel"])), "as above", budget{}},
	}
}

// costs says what n flips, one write each, cost by the events that a watch has shown and by the store's revision.
func (o *observer) costs(n, revisions int, what string) row {
	o.mu.Lock()
	defer o.mu.Unlock()
	per := func(k int) float64 { return float64(k) / float64(n) }
	others := revisions - o.writes[pod] - o.writes[slice] - o.writes[object]
	return row{what, fmt.Sprintf("%.2f EndpointSlice, %.2f Endpoints", per(o.writes[slice]), per(o.writes[object])),
		fmt.Sprintf("the pod itself %.2f; %d other writes in the store meanwhile", per(o.writes[pod]), others),
		held("one slice, one Endpoints", o.writes[slice] <= n && o.writes[object] <= n)}
}

// revision is the store's: it counts every write.
func (c *cluster) revision(ctx context.Context) (int, error) {
	list, err := c.client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(list.ResourceVersion)
}

// settled waits until what followed from earlier writes is written, and returns the revision then.
func (c *cluster) settled(ctx context.Context) (int, error) {
	const quiet = 300 * time.Millisecond
	for before := 0; ; time.Sleep(quiet) {
		now, err := c.revision(ctx)
		if err != nil || now == before {
			return now, err
		}
		before = now
	}
}

// flap changes flapRate pods a second for flapFor, half of them to ready, and times each. Beside it a write is timed now
// and then until a watch shows it: what anything would take on the machine as busy as that.
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
	const beside = int(flapFor / time.Second * 8)
	total := int(flapFor/time.Second) * flapRate
	flips, failed := make([]*flip, total), make([]error, total)
	cpu := w.cpu()
	var floor []time.Duration
	var floorErr error
	var group sync.WaitGroup
	group.Go(func() { floor, floorErr = w.watchLatency(ctx, beside, 100*time.Millisecond) })
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
	after, err := w.revision(ctx)
	if err != nil || floorErr != nil {
		return nil, errors.Join(err, floorErr)
	}
	flips = slices.DeleteFunc(flips, func(f *flip) bool { return f == nil || f.left > 0 })
	size := thousands(w.services) + " Services"
	when := fmt.Sprintf("at %s while %d endpoints flap at %d/s", size, 2*len(w.measured), flapRate)
	rows := w.stations(flips, when, "write -> watch event: "+percentiles(floor))
	if len(flips) < total {
		rows[0].figure += fmt.Sprintf("; %d more not within %s", total-len(flips), patience)
		err = fmt.Errorf("%d of %d changes failed: %w", total-len(flips), total, first(failed))
	}
	return append(rows, o.costs(total, after-before-len(floor), "writes for one pod change, "+when),
		row{"processor time of the program for one pod change, " + when, show(cpu / time.Duration(total)), "-", budget{}}), err
}

// first is the first error that there is.
func first(all []error) error {
	i := slices.IndexFunc(all, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return all[i]
}
