package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Objects follows ConfigMaps or Secrets by name, each alone.
type Objects[T any] interface {
	// Want names the objects to follow from now on.
	Want(names []types.NamespacedName)
	// Get returns an object that is wanted, nil if there is none; known is false as long as it has not been read.
	Get(name types.NamespacedName) (found T, known bool)
	// Changed delivers a value when Get may say something else than before.
	Changed() <-chan struct{}
	Run(ctx context.Context) error
}

// Followed are what volumes are made from, followed. Without them the files of a running pod stay as they were when it began.
type Followed struct {
	ConfigMaps Objects[*corev1.ConfigMap]
	Secrets    Objects[*corev1.Secret]
}

// ref is a ConfigMap or Secret of a pod's namespace.
type ref struct {
	secret bool
	name   string
}

// live is what the files of a pod were made from.
type live struct {
	namespace string
	pod       *corev1.Pod
	ready     bool                // all volumes are set up
	stale     bool                // something has changed since
	used      map[ref]string      // the versions that were read; "": there was none
	tokens    map[tokenKey]*token // by volume and place in it
	sources   string              // the version of trust bundles and certificates that were read
}

// pods are those whose volumes are kept as they should be.
type pods struct {
	mu  sync.Mutex // guards all
	all map[types.UID]*live
}

// of is what is known of a pod; the lock is held.
func (p *pods) of(pod *corev1.Pod) *live {
	if p.all == nil {
		p.all = map[types.UID]*live{}
	}
	l := p.all[pod.UID]
	if l == nil {
		l = &live{namespace: pod.Namespace, pod: pod, used: map[ref]string{}, tokens: map[tokenKey]*token{}}
		p.all[pod.UID] = l
	}
	return l
}

// read notes which version of an object a pod's files are made from.
func (mgr *Manager) read(pod *corev1.Pod, r ref, version string) {
	mgr.pods.mu.Lock()
	defer mgr.pods.mu.Unlock()
	mgr.pods.of(pod).used[r] = version
}

// fromAPI tells whether a volume is made from API objects, and therefore changes.
func fromAPI(v *corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

// keep has the files of a pod be kept as they should be from now on. They are right now, unless stale.
func (mgr *Manager) keep(pod *corev1.Pod, stale bool) {
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return fromAPI(&v) }) {
		return
	}
	mgr.pods.mu.Lock()
	l := mgr.pods.of(pod)
	l.ready, l.stale = true, stale || mgr.behind(l, false) || mgr.behind(l, true)
	mgr.pods.mu.Unlock()
	mgr.want()
}

// use has the pod have the trust bundles and certificates that its volumes are made from, and notes their version before they are read.
func (mgr *Manager) use(ctx context.Context, pod *corev1.Pod) {
	if mgr.Sources == nil {
		return
	}
	mgr.Sources.Use(pod)
	if version := mgr.Sources.Version(ctx, pod); version != "" {
		mgr.pods.mu.Lock()
		mgr.pods.of(pod).sources = version
		mgr.pods.mu.Unlock()
	}
}

// End leaves a pod without what its volumes are made from: nothing of it runs any more, or will.
func (mgr *Manager) End(uid types.UID) {
	mgr.Forget(uid)
	if mgr.Sources != nil {
		mgr.Sources.Forget(uid)
	}
}

// Adopt keeps the files of a pod that was set up by an agent before.
func (mgr *Manager) Adopt(pod *corev1.Pod) {
	mgr.pods.mu.Lock()
	l := mgr.pods.all[pod.UID]
	kept := l != nil && l.ready
	mgr.pods.mu.Unlock()
	if !kept {
		mgr.keep(pod, true)
	}
}

// Forget leaves the files of a pod as they are.
func (mgr *Manager) Forget(uid types.UID) {
	mgr.pods.mu.Lock()
	_, was := mgr.pods.all[uid]
	delete(mgr.pods.all, uid)
	mgr.pods.mu.Unlock()
	if was {
		mgr.want()
	}
}

// Changed notes that the labels or annotations of a pod are others.
func (mgr *Manager) Changed(uid types.UID) {
	mgr.pods.mu.Lock()
	defer mgr.pods.mu.Unlock()
	if l := mgr.pods.all[uid]; l != nil {
		l.stale = true
	}
}

// Due is when the files of a pod have to be brought up to date; zero: not before something changes.
func (mgr *Manager) Due(ctx context.Context, uid types.UID) time.Time {
	mgr.pods.mu.Lock()
	defer mgr.pods.mu.Unlock()
	l := mgr.pods.all[uid]
	switch {
	case l == nil || !l.ready:
		return time.Time{}
	case l.stale, l.sources != "" && mgr.Sources.Version(ctx, l.pod) != l.sources:
		return time.Unix(1, 0)
	}
	var first time.Time
	for _, t := range l.tokens {
		if first.IsZero() || t.renew.Before(first) {
			first = t.renew
		}
	}
	return first
}

// Refresh brings the files of a pod up to date. What cannot be read because it is gone stays as it was; its coming back is a change.
func (mgr *Manager) Refresh(ctx context.Context, pod *corev1.Pod) error {
	mgr.pods.mu.Lock()
	if l := mgr.pods.all[pod.UID]; l != nil {
		l.stale = false // what changes from now on is another change
	}
	mgr.pods.mu.Unlock()
	mgr.use(ctx, pod)
	var failed []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !fromAPI(v) {
			continue
		}
		var missing *gone
		if err := mgr.setupVolume(ctx, pod, v); err != nil && !errors.As(err, &missing) {
			failed = append(failed, &MountError{v.Name, err})
		}
	}
	if err := errors.Join(failed...); err != nil {
		mgr.Changed(pod.UID)
		return err
	}
	mgr.want()
	return nil
}

// want has exactly the objects followed that volumes are made from.
func (mgr *Manager) want() {
	if mgr.Followed.ConfigMaps == nil {
		return
	}
	mgr.pods.mu.Lock()
	defer mgr.pods.mu.Unlock()
	names := [2]map[types.NamespacedName]bool{{}, {}}
	for _, l := range mgr.pods.all {
		for r := range l.used {
			if l.ready {
				names[kindOf(r)][types.NamespacedName{Namespace: l.namespace, Name: r.name}] = true
			}
		}
	}
	for i, want := range []func([]types.NamespacedName){mgr.Followed.ConfigMaps.Want, mgr.Followed.Secrets.Want} {
		if !maps.Equal(names[i], mgr.wanted[i]) {
			mgr.wanted[i] = names[i]
			want(slices.Collect(maps.Keys(names[i])))
		}
	}
}

// kindOf is 1 for Secrets.
func kindOf(r ref) int {
	if r.secret {
		return 1
	}
	return 0
}

// Run follows what volumes are made from until ctx ends, and tells of pods whose files are not up to date any more.
func (mgr *Manager) Run(ctx context.Context, tell func(types.UID)) error {
	if mgr.Followed.ConfigMaps == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { _ = mgr.Followed.ConfigMaps.Run(ctx) }) // they end with ctx, and without an error
	parts.Go(func() { _ = mgr.Followed.Secrets.Run(ctx) })
	for {
		select {
		case <-mgr.Followed.ConfigMaps.Changed():
			mgr.compare(false, tell)
		case <-mgr.Followed.Secrets.Changed():
			mgr.compare(true, tell)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// compare finds the pods whose files were made from another version of an object of a kind than there is now.
func (mgr *Manager) compare(secrets bool, tell func(types.UID)) {
	mgr.pods.mu.Lock()
	defer mgr.pods.mu.Unlock()
	for uid, l := range mgr.pods.all {
		if l.ready && !l.stale && mgr.behind(l, secrets) {
			l.stale = true
			tell(uid)
		}
	}
}

// behind tells whether files were made from another version of an object than there is now; the lock is held.
func (mgr *Manager) behind(l *live, secrets bool) bool {
	if mgr.Followed.ConfigMaps == nil {
		return false
	}
	for r, version := range l.used {
		if r.secret != secrets {
			continue
		}
		if now, known := mgr.version(r, types.NamespacedName{Namespace: l.namespace, Name: r.name}); known && now != version {
			return true
		}
	}
	return false
}

// version is that of an object as it is followed.
func (mgr *Manager) version(r ref, name types.NamespacedName) (string, bool) {
	if r.secret {
		found, known := mgr.Followed.Secrets.Get(name)
		return versionOf(found, found == nil), known
	}
	found, known := mgr.Followed.ConfigMaps.Get(name)
	return versionOf(found, found == nil), known
}

func versionOf(object metav1.Object, none bool) string {
	if none {
		return ""
	}
	return object.GetResourceVersion()
}
