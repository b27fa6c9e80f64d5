package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/kube"
)

// bindings bounds the bind requests in flight.
const bindings = 16

// Scheduler binds the pods of scheduler default-scheduler.
type Scheduler struct {
	client kubernetes.Interface
	log    *slog.Logger

	nodes, pods cache.SharedIndexInformer
	cluster     *cluster
	queue       *kube.Queue[types.NamespacedName]
	listed      []cache.DoneChecker  // the first lists are counted
	events      record.EventRecorder // set by Run

	metrics metrics

	mu      sync.Mutex // guards pending
	pending map[types.NamespacedName]*pending
}

// pending is a pod that has no node yet.
type pending struct {
	since    time.Time // seen first
	attempts int
	queue    string // active, backoff or, when it fits nowhere, unschedulable
}

// New returns a Scheduler over the shared informers, which the caller starts. It
// starts nothing itself. What it counts is registered with registry; nil for
// nowhere.
func New(client kubernetes.Interface, shared informers.SharedInformerFactory, registry prometheus.Registerer, log *slog.Logger) *Scheduler {
	s := &Scheduler{
		client: client, log: log,
		nodes:   shared.Core().V1().Nodes().Informer(),
		pods:    shared.Core().V1().Pods().Informer(),
		cluster: newCluster(),
		queue:   kube.NewQueue[types.NamespacedName]("scheduler", 10*time.Second, log),
		metrics: newMetrics(),
		pending: map[types.NamespacedName]*pending{},
	}
	s.register(registry)
	s.listed = []cache.DoneChecker{kube.Watch(s.nodes, s.nodeChanged), kube.Watch(s.pods, s.podChanged)}
	return s
}

// Run schedules until ctx is done. It waits for the informers' first lists, so no
// node looks emptier than it is.
func (s *Scheduler) Run(ctx context.Context) error {
	s.events = kube.Recorder(ctx, s.client, corev1.EventSource{Component: corev1.DefaultSchedulerName})
	if !cache.WaitFor(ctx, "", s.listed...) {
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.work(ctx, &wg) })
	<-ctx.Done()
	s.queue.ShutDown()
	wg.Wait()
	return nil
}

// work decides for one pod at a time and binds beside it.
func (s *Scheduler) work(ctx context.Context, wg *sync.WaitGroup) {
	slots := make(chan struct{}, bindings)
	for {
		key, stop := s.queue.Get()
		if stop {
			return
		}
		start := time.Now()
		pod, node, message, so := s.decide(key)
		s.queue.Done(key)
		switch {
		case pod == nil:
			s.queue.Forget(key)
		case node == "":
			s.queue.Forget(key)
			s.metrics.attempted(unschedulable, start)
			s.refuse(ctx, pod, message)
		default:
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				s.bind(ctx, pod, node, so, start)
			})
		}
	}
}

// decide returns the pod with its node, or with the reason why there is none, and
// what has been known of it so far; no pod when there is nothing to decide. A refused pod waits from the moment of the
// decision, so that no change in between is missed.
func (s *Scheduler) decide(key types.NamespacedName) (pod *corev1.Pod, node, message string, so pending) {
	pod = kube.Cached[corev1.Pod](s.pods, key)
	if pod == nil || !mine(pod) {
		s.leave(key)
		return nil, "", "", so
	}
	if s.cluster.decided(pod.UID) {
		return nil, "", "", so
	}
	so = s.attempt(key)
	node, message = s.cluster.place(pod)
	if node != "" {
		s.move(key, active)
	}
	return pod, node, message, so
}

// enter puts a pod on the queue.
func (s *Scheduler) enter(key types.NamespacedName) {
	s.mu.Lock()
	if p := s.pending[key]; p == nil {
		s.pending[key] = &pending{since: time.Now(), queue: active}
	} else {
		p.queue = active
	}
	s.mu.Unlock()
	s.queue.Add(key)
}

// attempt notes that a pod is looked at; it fits nowhere until a node is found.
func (s *Scheduler) attempt(key types.NamespacedName) pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[key]
	if p == nil {
		p = &pending{since: time.Now()}
		s.pending[key] = p
	}
	p.attempts++
	p.queue = unschedulable
	return *p
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
	key := kube.Key(pod)
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
		s.leave(key)
		s.events.Eventf(pod, corev1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node)
		return
	}
	s.metrics.attempted(failed, start)
	if ctx.Err() != nil || apierrors.IsNotFound(err) {
		return
	}
	s.move(key, backoff)
	level := slog.LevelWarn
	if apierrors.IsConflict(err) { // somebody wrote the pod meanwhile, as happens
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "bind: will try again", "pod", key.String(), "node", node, "err", err)
	s.queue.AddRateLimited(key)
}

// refuse writes the condition PodScheduled=False and the event FailedScheduling,
// once per reason.
func (s *Scheduler) refuse(ctx context.Context, pod *corev1.Pod, message string) {
	since := metav1.Now()
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse {
			continue
		}
		if c.Reason == corev1.PodReasonUnschedulable && c.Message == message {
			return
		}
		since = c.LastTransitionTime
	}
	s.events.Event(pod, corev1.EventTypeWarning, "FailedScheduling", message)
	if err := s.patchCondition(ctx, pod, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: message, LastTransitionTime: since,
	}); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		s.log.Warn("cannot say why a pod waits", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
}

func (s *Scheduler) patchCondition(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []corev1.PodCondition{c}},
	})
	if err != nil {
		return fmt.Errorf("condition: %w", err)
	}
	_, err = s.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
