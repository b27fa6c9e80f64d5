package node

import (
	"context"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// relistPeriod is how often the whole runtime is compared with what is known, in case an event was lost.
const relistPeriod = 10 * time.Second

// The waits before the runtime's events are followed again, and how long they have to flow until they count as followed.
const (
	firstFollow  = 200 * time.Millisecond
	lastFollow   = 2 * time.Second
	followSettle = 200 * time.Millisecond
)

// watchExits wakes workers when the runtime announces the end of a container. What ended between two subscriptions is found by a look
// at everything, once the second one holds: a runtime that is down is not looked at.
func (a *Agent) watchExits(ctx context.Context) {
	var delay time.Duration
	markStale := func() {}
	for ctx.Err() == nil {
		look := time.AfterFunc(followSettle, markStale)
		err := a.containerd.Exits(ctx, a.announced)
		if look.Stop() {
			delay = life.Grow(delay, firstFollow, lastFollow)
		} else {
			delay = firstFollow
		}
		if ctx.Err() == nil {
			a.log.Debug("the runtime's events ended", "err", err, "again", delay)
			kube.Sleep(ctx, delay)
		}
		markStale = a.markStale
	}
}

// announced takes in that a container or sandbox has ended.
func (a *Agent) announced(id string) {
	a.mu.Lock()
	uid, known := a.owners[id]
	if !known {
		a.unclaimed[id] = time.Now()
	}
	a.mu.Unlock()
	a.post(uid, func(w *worker) { w.exited(id) })
}

// markStale makes every worker look at the runtime, because events may have been lost.
func (a *Agent) markStale() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.pods {
		w.mail.post(func() { w.stale, w.readAfter = true, time.Time{} })
	}
}

// claim notes whose the sandboxes and containers are, and returns those whose end was announced before they were known.
func (a *Agent) claim(uid types.UID, seen life.Observed) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ended []string
	note := func(id string) {
		a.owners[id] = uid
		if _, ok := a.unclaimed[id]; ok {
			delete(a.unclaimed, id)
			ended = append(ended, id)
		}
	}
	for _, s := range seen.Sandboxes {
		note(s.ID)
	}
	for _, list := range seen.Containers {
		for i := range list {
			note(list[i].ID)
		}
	}
	return ended
}

// relist compares the runtime with the last listing, wakes the workers of pods that changed, and makes workers for pods that only
// the runtime knows: they are ended and removed.
func (a *Agent) relist(ctx context.Context, last map[types.UID]string) error {
	begin := time.Now()
	all, err := a.runtime.List(ctx)
	if err != nil {
		return err
	}
	a.metrics.RelistDuration.Observe(time.Since(begin).Seconds())
	for uid, now := range all {
		if last[uid] != now.State() {
			last[uid] = now.State()
			a.post(uid, func(w *worker) { w.stale = true })
		}
		a.mu.Lock()
		if a.pods[uid] == nil {
			w := a.newWorker(orphan(uid, now))
			w.gone = true
			a.startWorker(ctx, w)
		}
		a.mu.Unlock()
	}
	a.mu.Lock()
	for id, at := range a.unclaimed {
		if time.Since(at) > relistPeriod {
			delete(a.unclaimed, id)
		}
	}
	a.mu.Unlock()
	for uid := range last {
		if all[uid] == nil {
			delete(last, uid)
			a.post(uid, func(w *worker) { w.stale = true })
		}
	}
	return nil
}

// orphan is what is known of a pod whose object the API no longer has.
func orphan(uid types.UID, of *kuberuntime.Snapshot) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: uid, Name: of.Labels[spec.LabelPodName], Namespace: of.Labels[spec.LabelPodNamespace],
	}}
	if seconds, err := strconv.ParseInt(of.Grace, 10, 64); err == nil {
		pod.Spec.TerminationGracePeriodSeconds = &seconds
	}
	return pod
}
