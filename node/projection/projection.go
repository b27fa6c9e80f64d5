// Package projection gives pods what projected volumes take from certificates.k8s.io: trust bundles, and certificates of the pod's own, which
// kubelet's manager asks for and renews. It watches each only while a pod of the node has a volume of it.
package projection

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
)

// Sources are what the pods of a node have of trust bundles and certificates. Make one with New. Everything may be called from any goroutine.
type Sources struct {
	bundles      use[*bundles]
	certificates use[*certificates]
}

// New returns what pods of a node have, none yet.
func New(client kubernetes.Interface, node string) *Sources {
	s := &Sources{}
	s.bundles.uses = func(p *corev1.VolumeProjection) bool { return p.ClusterTrustBundle != nil }
	s.bundles.start = func(ctx context.Context, of *use[*bundles]) *bundles { return startBundles(ctx, client, of) }
	s.certificates.uses = func(p *corev1.VolumeProjection) bool { return p.PodCertificate != nil }
	s.certificates.start = func(ctx context.Context, of *use[*certificates]) *certificates {
		return startCertificates(ctx, client, node, of)
	}
	return s
}

// Run tells Events of pods to events, and tell of pods for which Version may have changed, until ctx ends and all that was watched with it.
// Before it is called, and after it has returned, nothing is watched, and what pods ask for is an error.
func (s *Sources) Run(ctx context.Context, events record.EventRecorder, tell func(types.UID)) {
	s.bundles.run(ctx, events, tell)
	s.certificates.run(ctx, events, tell)
	<-ctx.Done()
	s.bundles.end()
	s.certificates.end()
}

// Use has a pod have what its volumes ask for, until Forget.
func (s *Sources) Use(pod *corev1.Pod) {
	s.bundles.add(pod)
	if added := s.certificates.add(pod); added {
		if c, ok := s.certificates.running(); ok {
			c.manager.TrackPod(c.ctx, pod)
		}
	}
}

// Forget ends what Use began.
func (s *Sources) Forget(uid types.UID) {
	s.bundles.remove(uid)
	pod := s.certificates.remove(uid)
	if c, ok := s.certificates.running(); ok && pod != nil {
		c.manager.ForgetPod(c.ctx, pod)
	}
}

// Version is another when what the pod's volumes are made from has changed; "" for a pod that has nothing of it.
func (s *Sources) Version(ctx context.Context, pod *corev1.Pod) string {
	sum, some := sha256.New(), false
	each(pod, func(volume string, i int, p *corev1.VolumeProjection) {
		switch {
		case p.ClusterTrustBundle != nil:
			anchors, err := s.TrustAnchors(ctx, p.ClusterTrustBundle)
			sum.Write(part(anchors, err))
		case p.PodCertificate != nil:
			_, chain, err := s.Certificate(ctx, pod, volume, i)
			sum.Write(part(chain, err))
		default:
			return
		}
		some = true
	})
	if !some {
		return ""
	}
	return string(sum.Sum(nil))
}

// part is what one source adds to a version.
func part(data []byte, err error) []byte {
	sum := sha256.Sum256(data)
	if err != nil {
		sum = sha256.Sum256([]byte(err.Error()))
	}
	return sum[:]
}

// each calls f for every source of the pod's projected volumes.
func each(pod *corev1.Pod, f func(volume string, source int, p *corev1.VolumeProjection)) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			f(v.Name, j, &v.Projected.Sources[j])
		}
	}
}

// errIdle is for a pod that nobody has said to be used here.
var errIdle = errors.New("the agent is not running")

// use is something that runs while a pod needs it.
type use[T any] struct {
	uses  func(*corev1.VolumeProjection) bool
	start func(context.Context, *use[T]) T

	events record.EventRecorder
	tell   func(types.UID)

	mu      sync.Mutex // guards what follows
	parent  context.Context
	pods    map[types.UID]*corev1.Pod
	current T
	stop    context.CancelFunc // nil: it does not run
	parts   sync.WaitGroup     // of it
}

func (u *use[T]) run(ctx context.Context, events record.EventRecorder, tell func(types.UID)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parent, u.events, u.tell = ctx, events, tell
	u.check()
}

// end waits for what runs; the context of run is over.
func (u *use[T]) end() {
	u.mu.Lock()
	u.parent = nil
	u.check()
	u.mu.Unlock()
	u.parts.Wait()
}

// check starts or stops what has to; the lock is held.
func (u *use[T]) check() {
	wanted := u.parent != nil && len(u.pods) > 0
	if wanted && u.stop == nil {
		ctx, stop := context.WithCancel(u.parent)
		u.stop, u.current = stop, u.start(ctx, u)
	}
	if !wanted && u.stop != nil {
		u.stop()
		var none T
		u.stop, u.current = nil, none
	}
}

// add says whether the pod is one that was not there and that needs it.
func (u *use[T]) add(pod *corev1.Pod) bool {
	needs := false
	each(pod, func(_ string, _ int, p *corev1.VolumeProjection) { needs = needs || u.uses(p) })
	u.mu.Lock()
	defer u.mu.Unlock()
	if !needs || u.pods[pod.UID] != nil {
		return false
	}
	if u.pods == nil {
		u.pods = map[types.UID]*corev1.Pod{}
	}
	u.pods[pod.UID] = pod
	u.check()
	return true
}

// remove returns the pod if it was there.
func (u *use[T]) remove(uid types.UID) *corev1.Pod {
	u.mu.Lock()
	defer u.mu.Unlock()
	pod := u.pods[uid]
	delete(u.pods, uid)
	u.check()
	return pod
}

// running is what runs, if it does.
func (u *use[T]) running() (T, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.current, u.stop != nil
}

// GetPodByUID and GetPods are podcertificate.PodManager.
func (u *use[T]) GetPodByUID(uid types.UID) (*corev1.Pod, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	pod, ok := u.pods[uid]
	return pod, ok
}

// GetPods returns those that need it.
func (u *use[T]) GetPods() []*corev1.Pod {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]*corev1.Pod, 0, len(u.pods))
	for _, pod := range u.pods {
		all = append(all, pod)
	}
	return all
}
