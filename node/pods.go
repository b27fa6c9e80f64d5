package node

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

// watchPods follows the API's pods of this node and the runtime's events, and has a worker for each pod of either.
func (a *Agent) watchPods(ctx context.Context) error {
	list := cache.NewListWatchFromClient(a.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", a.cfg.Name))
	informer := cache.NewSharedInformer(list, &corev1.Pod{}, 0)
	listed := kube.Watch(informer, func(old, pod *corev1.Pod, _ bool) {
		if pod == nil {
			a.post(old.UID, (*worker).deleted)
		} else {
			a.dispatch(ctx, pod)
		}
	})
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { informer.RunWithContext(ctx) })
	parts.Go(func() { a.watchExits(ctx) })
	if !cache.WaitFor(ctx, "", listed) { // before the runtime's pods are compared
		return ctx.Err()
	}
	last := map[types.UID]string{}
	swept := false
	for {
		err := a.relist(ctx, last)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("the runtime cannot be listed", "err", err)
		}
		if err == nil && !swept {
			a.removeLeft()
			swept = true
		}
		if !kube.Sleep(ctx, relistPeriod) {
			return ctx.Err()
		}
	}
}

// dispatch hands a version of a pod to its worker, made when there is none yet.
func (a *Agent) dispatch(ctx context.Context, pod *corev1.Pod) {
	a.mu.Lock()
	w := a.pods[pod.UID]
	if w == nil {
		w = a.newWorker(pod)
		if pod.Status.StartTime != nil && !api.Finished(pod) {
			a.admitted.keep(pod)
		}
		a.startWorker(ctx, w)
	}
	a.mu.Unlock()
	w.mail.post(func() { w.update(pod) })
}

// startWorker starts a worker; the lock is held.
func (a *Agent) startWorker(ctx context.Context, w *worker) {
	a.pods[w.uid] = w
	a.running.Add(1)
	go func() {
		defer a.running.Done()
		w.run(ctx)
		w.probing.Wait() // they count their tries until they end
		a.metrics.ForgetPod(w.uid)
	}()
}

// post posts f to the worker of a pod, if there is one.
func (a *Agent) post(uid types.UID, f func(*worker)) {
	a.mu.Lock()
	w := a.pods[uid]
	a.mu.Unlock()
	if w != nil {
		w.mail.post(func() { f(w) })
	}
}

// removeWorker forgets a pod that is gone.
func (a *Agent) removeWorker(uid types.UID) {
	a.admitted.release(uid)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pods, uid)
	a.searches.set(uid, nil, nil)
	if a.cfg.Release != nil {
		a.cfg.Release(uid)
	}
	for id, owner := range a.owners {
		if owner == uid {
			delete(a.owners, id)
		}
	}
}
