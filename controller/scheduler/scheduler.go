package scheduler

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/controller/scheduler/placement"
	"fairlead.dev/fairlead/kube"
)

// bindings bounds the bind requests in flight.
const bindings = 16

// Scheduler binds the pods of scheduler default-scheduler.
type Scheduler struct {
	client kubernetes.Interface
	shared informers.SharedInformerFactory
	log    *slog.Logger

	nodes, pods cache.SharedIndexInformer
	cluster     *cluster
	queue       *kube.Queue[turn]
	listed      []cache.DoneChecker  // the first lists are counted
	events      record.EventRecorder // set by Run
	background  sync.WaitGroup

	storage         *storage                                // nil until a pod has a claim
	budgets         policylisters.PodDisruptionBudgetLister // nil until somebody has to leave for a pod
	volumes, limits late

	metrics metrics

	mu      sync.Mutex // guards below
	pending map[types.NamespacedName]*pending
	notes   map[types.NamespacedName]note
	written *kube.Queue[types.NamespacedName] // of notes; nil until there is one
}

// turn is a pod to look at: those of a higher priority first.
type turn struct {
	types.NamespacedName
	priority int32
}

func turnOf(p *corev1.Pod) turn { return turn{kube.Key(p), *cmp.Or(p.Spec.Priority, new(int32))} }

// pending is a pod that has no node yet.
type pending struct {
	turn     turn
	since    time.Time // seen first
	tried    time.Time // looked at last
	attempts int
	heals    placement.Change // what may help, when it fits nowhere
	queue    string           // active, backoff or, when it fits nowhere, unschedulable
}

// pause is how long after its last attempt a pod that fits nowhere is not looked at again, whatever changes: until then there are
// others. It doubles with each attempt.
func (p *pending) pause() time.Duration {
	const first, last = 5 * time.Millisecond, 10 * time.Second
	return min(first<<min(p.attempts, 16), last)
}

// late is caches that begin when they are needed.
type late struct {
	begun  bool
	listed atomic.Bool
}

// New returns a Scheduler over the shared informers, which the caller starts. It
// starts nothing itself. What it counts is registered with registry; nil for
// nowhere.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, registry prometheus.Registerer, log *slog.Logger) *Scheduler {
	namespaces := shared.Core().V1().Namespaces().Informer()
	s := &Scheduler{
		client: client, shared: shared, log: log,
		nodes: shared.Core().V1().Nodes().Informer(),
		pods:  shared.Core().V1().Pods().Informer(),
		cluster: newCluster(func(name string) labels.Set {
			if n := kube.Cached[corev1.Namespace](namespaces, types.NamespacedName{Name: name}); n != nil {
				return n.Labels
			}
			return nil
		}),
		queue:   kube.NewOrderedQueue("scheduler", 10*time.Second, func(a, b turn) int { return cmp.Compare(b.priority, a.priority) }, log),
		metrics: newMetrics(),
		pending: map[types.NamespacedName]*pending{}, notes: map[types.NamespacedName]note{},
	}
	s.register(registry)
	s.listed = []cache.DoneChecker{kube.Watch(s.nodes, s.nodeChanged), kube.Watch(s.pods, s.podChanged), namespaces.HasSyncedChecker()}
	return s
}

// Run schedules until ctx is done. It waits for the informers' first lists, so no
// node looks emptier than it is.
func (s *Scheduler) Run(ctx context.Context) error {
	s.events = kube.Recorder(ctx, s.client, corev1.EventSource{Component: corev1.DefaultSchedulerName})
	if !cache.WaitFor(ctx, "", s.listed...) {
		return nil
	}
	s.background.Go(func() { s.work(ctx) })
	<-ctx.Done()
	s.queue.ShutDown()
	s.background.Wait()
	return nil
}

// work decides for one pod at a time and binds beside it.
func (s *Scheduler) work(ctx context.Context) {
	slots := make(chan struct{}, bindings)
	for {
		key, stop := s.queue.Get()
		if stop {
			return
		}
		start := time.Now()
		pod, out, so := s.decide(ctx, key)
		s.queue.Done(key)
		switch {
		case pod == nil:
			s.queue.Forget(key)
		case out.node == "":
			s.queue.Forget(key)
			s.metrics.attempted(unschedulable, start)
			if out.room != "" {
				s.metrics.preemptions.Inc()
			}
			if out.message != "" {
				s.say(ctx, pod, out)
			}
		case !out.volumes.None():
			s.background.Go(func() { s.bindVolumes(ctx, pod, out, so, start) })
		default:
			slots <- struct{}{}
			s.background.Go(func() {
				defer func() { <-slots }()
				s.bind(ctx, pod, out.node, so, start)
			})
		}
	}
}

// decide returns the pod with its node, or with the reason why there is none, and
// what has been known of it so far; no pod when there is nothing to decide. A refused pod waits from the moment of the
// decision, so that no change in between is missed.
func (s *Scheduler) decide(ctx context.Context, key turn) (pod *corev1.Pod, out outcome, so pending) {
	pod = kube.Cached[corev1.Pod](s.pods, key.NamespacedName)
	if pod == nil || !mine(pod) {
		s.leave(key.NamespacedName)
		return nil, out, so
	}
	if s.cluster.decided(pod.UID) {
		return nil, out, so
	}
	so = s.attempt(turnOf(pod))
	if placement.UsesClaims(pod) && !s.stored(ctx) {
		return nil, out, so
	}
	out = s.cluster.place(pod, func() ([]*policyv1.PodDisruptionBudget, bool) { return s.protected(ctx) })
	if out.node == "" {
		s.wait(key.NamespacedName, out.heals)
		return pod, out, so
	}
	if err := s.assume(out); err != nil {
		s.cluster.refused(pod.UID)
		s.log.Warn("volumes cannot be bound", "pod", key.String(), "err", err)
		return nil, out, so
	}
	s.move(key.NamespacedName, active)
	return pod, out, so
}

// assume counts with the volumes of a pod that has its node.
func (s *Scheduler) assume(out outcome) error {
	if out.volumes.None() {
		return nil
	}
	return s.storage.assume(out.volumes, out.node)
}

// stored reports whether it is known which volumes there are; if not, everybody who waits is looked at again once it is.
func (s *Scheduler) stored(ctx context.Context) bool {
	return s.known(ctx, &s.volumes, func() (listed []cache.DoneChecker) {
		s.storage, listed = newStorage(s.client, s.shared, func() { s.retry(placement.VolumeChanged) })
		s.cluster.stored(s.storage.view())
		return listed
	})
}

// protected are the disruption budgets, and whether they are known.
func (s *Scheduler) protected(ctx context.Context) ([]*policyv1.PodDisruptionBudget, bool) {
	if !s.known(ctx, &s.limits, func() []cache.DoneChecker {
		budgets := s.shared.Policy().V1().PodDisruptionBudgets()
		s.budgets = budgets.Lister()
		return []cache.DoneChecker{budgets.Informer().HasSyncedChecker()}
	}) {
		return nil, false
	}
	all, err := s.budgets.List(labels.Everything())
	return all, err == nil
}

// known begins with caches that nobody has needed before, and reports whether they are filled.
func (s *Scheduler) known(ctx context.Context, l *late, begin func() []cache.DoneChecker) bool {
	if !l.begun {
		l.begun = true
		listed := begin()
		s.shared.Start(ctx.Done())
		s.background.Go(func() {
			if cache.WaitFor(ctx, "", listed...) {
				l.listed.Store(true)
				s.retry(placement.Anything)
			}
		})
	}
	return l.listed.Load()
}

// enter puts a pod on the queue.
func (s *Scheduler) enter(key turn) {
	s.mu.Lock()
	if p := s.pending[key.NamespacedName]; p == nil {
		s.pending[key.NamespacedName] = &pending{turn: key, since: time.Now(), queue: active}
	} else {
		p.turn, p.queue = key, active
	}
	s.mu.Unlock()
	s.queue.Add(key)
}

// attempt notes that a pod is looked at; it fits nowhere until a node is found.
func (s *Scheduler) attempt(key turn) pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[key.NamespacedName]
	if p == nil {
		p = &pending{turn: key, since: time.Now()}
		s.pending[key.NamespacedName] = p
	}
	p.attempts++
	p.queue, p.heals, p.tried = unschedulable, placement.Anything, time.Now()
	return *p
}

// wait notes what may help a pod that fits nowhere.
func (s *Scheduler) wait(key types.NamespacedName, heals placement.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[key]; p != nil {
		p.heals = heals
	}
}

// move notes where a pod without a node is now.
func (s *Scheduler) move(key types.NamespacedName, queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[key]; p != nil {
		p.queue = queue
	}
}

// leave forgets a pod that has a node or needs none any more.
func (s *Scheduler) leave(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, key)
}

// bind tells the server. If that is refused the pod is no longer counted; if there
// is no answer, or the pod is not what the cache says, it is until the cache shows
// what has become of it. Either way it comes back with a growing pause.
func (s *Scheduler) bind(ctx context.Context, pod *corev1.Pod, node string, so pending, start time.Time) {
	key := turnOf(pod)
	err := s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
	done := err == nil
	switch {
	case done:
	case kube.Refused(err) && !apierrors.IsConflict(err):
		s.cluster.refused(pod.UID)
	default:
		done = !s.cluster.unsure(pod.UID)
	}
	if done {
		s.queue.Forget(key)
		s.metrics.attempted(scheduled, start)
		s.metrics.bound(so)
		s.leave(key.NamespacedName)
		s.events.Eventf(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node)
		return
	}
	s.metrics.attempted(failed, start)
	if ctx.Err() != nil || apierrors.IsNotFound(err) {
		return
	}
	s.move(key.NamespacedName, backoff)
	level := slog.LevelWarn
	if apierrors.IsConflict(err) { // somebody wrote the pod meanwhile, as happens
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "bind: will try again", "pod", key.String(), "node", node, "err", err)
	s.queue.AddRateLimited(key)
}

// bindVolumes binds the pod once its volumes are; if they cannot be, the pod looks for a node again.
func (s *Scheduler) bindVolumes(ctx context.Context, pod *corev1.Pod, out outcome, so pending, start time.Time) {
	key := turnOf(pod)
	err := s.storage.bind(ctx, s.client, out.volumes, out.node, func() bool {
		now := kube.Cached[corev1.Pod](s.pods, key.NamespacedName)
		return now == nil || now.UID != pod.UID || !mine(now)
	})
	if err == nil {
		s.bind(ctx, pod, out.node, so, start)
		return
	}
	s.storage.withdraw(out.volumes)
	s.cluster.refused(pod.UID)
	s.metrics.attempted(failed, start)
	if ctx.Err() != nil {
		return
	}
	s.events.Eventf(pod, corev1.EventTypeWarning, "FailedScheduling", "running PreBind plugin \"VolumeBinding\": %v", err)
	s.move(key.NamespacedName, backoff)
	s.queue.AddRateLimited(key)
	s.retry(placement.PodGone)
}
