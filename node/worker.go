package node

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/metrics"
)

// mailbox carries work to the goroutine that owns a pod. Posting never blocks.
type mailbox struct {
	mu    sync.Mutex
	queue []func()
	wake  chan struct{}
}

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.queue = append(m.queue, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queue
	m.queue = nil
	return queue
}

// worker is the one goroutine of a pod. Its fields belong to that goroutine; everything else reaches it through the mailbox.
type worker struct {
	a    *Agent
	uid  types.UID
	log  *slog.Logger
	mail mailbox

	first           *corev1.Pod       // the version first seen, which any goroutine may read
	backOffRecorded map[string]string // the container whose back-off has an event, by name

	pod       *corev1.Pod // the newest version known
	gone      bool        // the API no longer has it
	seen      life.Observed
	observed  bool // seen is filled
	stale     bool // the runtime has to be looked at again
	tries     int  // looks in a row that did not yet show an exit that was announced
	exiting   map[string]bool
	mem       *life.Memory
	pulls     map[string]life.Failure  // back-off of image pulls, by image
	failing   map[string]time.Duration // the wait before what has failed is tried again
	readDelay time.Duration            // the wait before a runtime that does not answer is asked again
	readAfter time.Time                // when that wait ends
	probes    map[probeKey]context.CancelFunc
	cancel    context.CancelFunc // of the start under way
	status    statusSync
	startup   startup
	refresh   bool      // the files of volumes are being brought up to date
	measuring bool      // it is being found out how large volumes are
	measureAt time.Time // when that is done again
	bounding  bool      // it is being found out what the pod has written
	stepped   bool      // the first step is done
	updated   bool      // there is a version of the object that no step has seen
	anewAgain bool      // all containers have to begin anew, that also which is being started

	asked      bool      // whether the node takes the pod is decided
	allocateAt time.Time // when it is decided again about resources that the pod waits for
	probing    sync.WaitGroup

	searchAddrs []string // the addresses whose searches are known
	done        bool
}

func (a *Agent) newWorker(pod *corev1.Pod) *worker {
	return &worker{
		a: a, uid: pod.UID, first: pod, pod: pod, stale: true,
		backOffRecorded: map[string]string{},
		log:             a.log.With("pod", pod.Namespace+"/"+pod.Name),
		mail:            mailbox{wake: make(chan struct{}, 1)},
		exiting:         map[string]bool{},
		mem:             life.NewMemory(time.Now()),
		pulls:           map[string]life.Failure{},
		failing:         map[string]time.Duration{},
		probes:          map[probeKey]context.CancelFunc{},
	}
}

// run works until nothing of the pod is left, or the context is done.
func (w *worker) run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !w.done {
		select {
		case <-ctx.Done():
			return
		case <-w.mail.wake:
		case <-timer.C:
		}
		begin := time.Now()
		for _, f := range w.mail.take() {
			f()
		}
		operation := w.operation()
		timer.Reset(w.step(ctx))
		w.a.metrics.PodWorkerDuration.WithLabelValues(operation).Observe(time.Since(begin).Seconds())
	}
}

// operation is what the next step is for, in upstream's words.
func (w *worker) operation() string {
	first, updated := !w.stepped, w.updated
	w.stepped, w.updated = true, false
	switch {
	case w.terminating():
		return metrics.SyncKill
	case first:
		return metrics.SyncCreate
	case updated:
		return metrics.SyncUpdate
	}
	return metrics.SyncPod
}

// resyncPeriod is how long a pod may go without a look at its plan.
const resyncPeriod = time.Minute

// step looks, decides, acts and reports; it returns the time until the next step if nothing is heard before.
func (w *worker) step(ctx context.Context) time.Duration {
	again := resyncPeriod
	if left := time.Until(w.readAfter); left > 0 {
		again = min(again, left) // whatever happens meanwhile: a runtime that does not answer is not asked for every pod all the time
	} else if w.stale {
		if soon := w.observe(ctx); soon > 0 {
			again = soon
		}
	}
	if !w.observed {
		return again // nothing is decided about a pod whose containers are not known
	}
	again = min(again, w.admit())
	again = min(again, w.allocate())
	plan := life.Next(w.view())
	for _, action := range plan.Actions {
		w.act(ctx, action)
	}
	w.endResize()
	w.syncProbes(ctx)
	again = min(again, w.syncStatus(ctx))
	again = min(again, w.syncVolumes(ctx))
	again = min(again, w.boundVolumes())
	if !plan.Wake.IsZero() {
		again = min(again, max(time.Until(plan.Wake), time.Millisecond))
	}
	return again
}

func (w *worker) view() life.View {
	return life.View{Pod: w.pod, Gone: w.gone, Seen: w.seen, Mem: w.mem, NodeIPs: texts(w.a.cfg.IPs), Now: time.Now()}
}

// observe reads the runtime. It returns a time to wait before the next look when there has to be one: after an error, or when an
// exit was announced that the CRI service does not show yet.
func (w *worker) observe(ctx context.Context) time.Duration {
	seen, err := w.a.runtime.PodStatus(ctx, w.uid, w.seen)
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("the runtime cannot be read", "err", err)
		}
		w.readDelay = life.Grow(w.readDelay, 500*time.Millisecond, 8*time.Second)
		w.readAfter = time.Now().Add(w.readDelay)
		return w.readDelay
	}
	w.seen, w.stale, w.readDelay = seen, false, 0
	w.updateSearches()
	for _, id := range w.a.claim(w.uid, seen) {
		w.exiting[id] = true
	}
	if !w.observed {
		w.observed = true
		w.restoreProbes()
		w.restoreResources()
	}
	if life.BegunAnew(w.view()).After(w.mem.Anew) {
		// What is just being started is of the time before as well.
		w.mem.Anew, w.anewAgain = time.Now(), w.mem.Starting
	}
	w.pruneMemory()
	for id := range w.exiting {
		if !seen.Up(id) {
			delete(w.exiting, id)
		}
	}
	if len(w.exiting) == 0 || w.tries >= 8 {
		w.tries, w.exiting = 0, map[string]bool{}
		return 0
	}
	w.tries++
	w.stale = true
	return time.Millisecond << w.tries
}

// restoreProbes takes over what an earlier agent had found out about containers that are still running (rule R25).
func (w *worker) restoreProbes() {
	for _, list := range [][]corev1.ContainerStatus{w.pod.Status.InitContainerStatuses, w.pod.Status.ContainerStatuses} {
		for i := range list {
			c := w.seen.Newest(list[i].Name)
			if c == nil || c.State != life.Running || list[i].ContainerID != "containerd://"+c.ID {
				continue
			}
			w.mem.Ready[c.ID] = list[i].Ready
			w.mem.Started[c.ID] = list[i].Started != nil && *list[i].Started
		}
	}
}

// pruneMemory drops memories of containers and sandboxes that no longer exist.
func (w *worker) pruneMemory() {
	present := map[string]bool{}
	for _, s := range w.seen.Sandboxes {
		present[s.ID] = true
	}
	for _, list := range w.seen.Containers {
		for i := range list {
			present[list[i].ID] = true
		}
	}
	for id := range w.mem.Ready {
		if !present[id] {
			delete(w.mem.Ready, id)
			delete(w.mem.Started, id)
			delete(w.mem.PendingRestart, id)
		}
	}
	for id := range w.mem.Applied {
		if !present[id] && !w.mem.Starting {
			delete(w.mem.Applied, id)
		}
	}
	for id := range w.mem.Replaced {
		if !present[id] {
			delete(w.mem.Replaced, id)
		}
	}
}

// update takes a version of the object from the API, unless it is older than the one at hand.
func (w *worker) update(pod *corev1.Pod) {
	if version(pod) >= version(w.pod) {
		if !maps.Equal(pod.Labels, w.pod.Labels) || !maps.Equal(pod.Annotations, w.pod.Annotations) {
			w.a.volumes.Changed(w.uid)
		}
		w.pod, w.updated = pod, true
		if api.Finished(pod) {
			w.a.admitted.release(w.uid)
		}
		w.observeStarted()
	}
	if pod.DeletionTimestamp != nil && w.cancel != nil {
		w.cancel() // what is being started is not wanted any more
	}
}

// version orders the versions of one object; the API's resource versions are numbers that grow.
func version(pod *corev1.Pod) uint64 {
	n, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// deleted notes that the object is gone from the API.
func (w *worker) deleted() {
	w.gone = true
	if w.cancel != nil {
		w.cancel()
	}
}

// exited notes that the runtime has announced the end of a container or sandbox.
func (w *worker) exited(id string) {
	w.stale, w.tries = true, 0
	w.exiting[id] = true
}

// async runs f beside the worker; what it returns is then run by the worker.
func (w *worker) async(f func() func()) {
	w.a.running.Add(1)
	go func() {
		defer w.a.running.Done()
		w.mail.post(f())
	}()
}
