package node

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// relistPeriod is how often the whole runtime is compared with what is known, in case an event was lost.
const relistPeriod = 10 * time.Second

// keepPods follows the API's pods of this node and the runtime's events, and has a worker for each pod of either.
func (a *Agent) keepPods(ctx context.Context) error {
	list := cache.NewListWatchFromClient(a.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", a.cfg.Name))
	informer := cache.NewSharedInformer(list, &corev1.Pod{}, 0)
	listed := kube.Watch(informer, func(old, pod *corev1.Pod, _ bool) {
		if pod == nil {
			a.with(old.UID, (*worker).vanish)
		} else {
			a.deliver(ctx, pod)
		}
	})
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { informer.RunWithContext(ctx) })
	parts.Go(func() { a.followExits(ctx) })
	if !cache.WaitFor(ctx, "", listed) { // before the runtime's pods are compared
		return ctx.Err()
	}
	last := map[types.UID]string{}
	for {
		if err := a.relist(ctx, last); err != nil && ctx.Err() == nil {
			a.log.Warn("the runtime cannot be listed", "error", err)
		}
		if !wait(ctx, relistPeriod) {
			return ctx.Err()
		}
	}
}

// deliver hands a version of a pod to its worker, made when there is none yet.
func (a *Agent) deliver(ctx context.Context, pod *corev1.Pod) {
	a.mu.Lock()
	w := a.pods[pod.UID]
	if w == nil {
		w = a.newWorker(pod)
		a.begin(ctx, w)
	}
	a.mu.Unlock()
	w.mail.post(func() { w.update(pod) })
}

// begin starts a worker; the lock is held.
func (a *Agent) begin(ctx context.Context, w *worker) {
	a.pods[w.uid] = w
	a.running.Add(1)
	go func() {
		defer a.running.Done()
		w.run(ctx)
	}()
}

// with posts f to the worker of a pod, if there is one.
func (a *Agent) with(uid types.UID, f func(*worker)) {
	a.mu.Lock()
	w := a.pods[uid]
	a.mu.Unlock()
	if w != nil {
		w.mail.post(func() { f(w) })
	}
}

// own notes whose the sandboxes and containers are, and returns those whose end was announced before they were known.
func (a *Agent) own(uid types.UID, seen life.Observed) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ended []string
	note := func(id string) {
		a.owners[id] = uid
		if _, ok := a.early[id]; ok {
			delete(a.early, id)
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

// drop forgets a pod that is gone.
func (a *Agent) drop(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pods, uid)
	a.searches.set(uid, nil, nil)
	for id, owner := range a.owners {
		if owner == uid {
			delete(a.owners, id)
		}
	}
}

// followExits wakes workers when the runtime announces the end of a container.
func (a *Agent) followExits(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.rt.Exits(ctx, func(id string) {
			a.mu.Lock()
			uid, known := a.owners[id]
			if !known {
				a.early[id] = time.Now()
			}
			a.mu.Unlock()
			a.with(uid, func(w *worker) { w.exited(id) })
		})
		if ctx.Err() == nil {
			a.log.Debug("the runtime's events ended", "error", err)
			wait(ctx, 200*time.Millisecond)
			a.lookAgain()
		}
	}
}

// lookAgain makes every worker look at the runtime, because events may have been lost.
func (a *Agent) lookAgain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.pods {
		w.mail.post(func() { w.stale = true })
	}
}

// relist compares the runtime with the last listing, wakes the workers of pods that changed, and makes workers for pods that only
// the runtime knows: they are ended and removed.
func (a *Agent) relist(ctx context.Context, last map[types.UID]string) error {
	all, err := a.engine.everything(ctx)
	if err != nil {
		return err
	}
	for uid, now := range all {
		if last[uid] != now.signature() {
			last[uid] = now.signature()
			a.with(uid, func(w *worker) { w.stale = true })
		}
		a.mu.Lock()
		if a.pods[uid] == nil {
			w := a.newWorker(stub(uid, now))
			w.gone = true
			a.begin(ctx, w)
		}
		a.mu.Unlock()
	}
	a.mu.Lock()
	for id, at := range a.early {
		if time.Since(at) > relistPeriod {
			delete(a.early, id)
		}
	}
	a.mu.Unlock()
	for uid := range last {
		if all[uid] == nil {
			delete(last, uid)
			a.with(uid, func(w *worker) { w.stale = true })
		}
	}
	return nil
}

// stub is what is known of a pod whose object the API no longer has.
func stub(uid types.UID, of *inventory) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		UID: uid, Name: of.labels[spec.LabelPodName], Namespace: of.labels[spec.LabelPodNamespace],
	}}
	if seconds, err := strconv.ParseInt(of.grace, 10, 64); err == nil {
		pod.Spec.TerminationGracePeriodSeconds = &seconds
	}
	return pod
}

// errNotHere answers requests about pods and containers this node does not have.
var errNotHere = errors.New("not found")
