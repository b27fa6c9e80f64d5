package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/volume"

	"fairlead.dev/fairlead/controller/scheduler/placement"
	"fairlead.dev/fairlead/kube"
)

// volumesWithin is how long a pod that has its node waits for its volumes, as upstream's; then it looks for a node again.
const volumesWithin = 10 * time.Minute

// storage is claims, volumes and classes as the scheduler sees them: what caches show, and what it has decided and they do not show yet.
type storage struct {
	claims, volumes, classes cache.SharedIndexInformer
	nodes                    cache.SharedIndexInformer // CSINodes; nil: not served

	mu      sync.Mutex                          // guards below
	chosen  map[types.NamespacedName]string     // the node decided for a claim
	given   map[string]*corev1.PersistentVolume // volumes with the claim decided for them
	changed chan struct{}                       // closed with the next change
}

// newStorage has shared watch what there is to watch, and changed be told.
func newStorage(client kubernetes.Interface, shared informers.SharedInformerFactory, changed func()) (*storage, []cache.DoneChecker) {
	s := &storage{
		claims:  shared.Core().V1().PersistentVolumeClaims().Informer(),
		volumes: shared.Core().V1().PersistentVolumes().Informer(),
		classes: shared.Storage().V1().StorageClasses().Informer(),
		chosen:  map[types.NamespacedName]string{}, given: map[string]*corev1.PersistentVolume{}, changed: make(chan struct{}),
	}
	tell := func() {
		s.mu.Lock()
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		changed()
	}
	listed := []cache.DoneChecker{
		kube.Watch(s.claims, func(before, c *corev1.PersistentVolumeClaim, _ bool) { s.shownClaim(before, c); tell() }),
		kube.Watch(s.volumes, func(before, v *corev1.PersistentVolume, _ bool) { s.shownVolume(before, v); tell() }),
		kube.Watch(s.classes, func(_, _ *storagev1.StorageClass, _ bool) { tell() }),
	}
	if served, err := client.Discovery().ServerResourcesForGroupVersion("storage.k8s.io/v1"); err == nil {
		for i := range served.APIResources {
			if served.APIResources[i].Name == "csinodes" {
				s.nodes = shared.Storage().V1().CSINodes().Informer()
				listed = append(listed, kube.Watch(s.nodes, func(_, _ *storagev1.CSINode, _ bool) { tell() }))
			}
		}
	}
	return s, listed
}

// shownClaim forgets what was decided for a claim once the cache shows it, or the claim is gone.
func (s *storage) shownClaim(before, c *corev1.PersistentVolumeClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == nil {
		delete(s.chosen, kube.Key(before))
	} else if c.Annotations[volume.AnnSelectedNode] == s.chosen[kube.Key(c)] {
		delete(s.chosen, kube.Key(c))
	}
}

// shownVolume is the same for a volume.
func (s *storage) shownVolume(before, v *corev1.PersistentVolume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == nil {
		delete(s.given, before.Name)
	} else if v.Spec.ClaimRef != nil {
		delete(s.given, v.Name)
	}
}

// view is the storage as placement sees it.
func (s *storage) view() *placement.Storage {
	return &placement.Storage{
		Claim: s.claim, Volume: s.volume,
		Volumes: func(class string) (out []*corev1.PersistentVolume) {
			for _, obj := range s.volumes.GetStore().List() {
				if v := obj.(*corev1.PersistentVolume); placement.VolumeClass(v) == class {
					out = append(out, s.volume(v.Name))
				}
			}
			return out
		},
		Class: func(name string) *storagev1.StorageClass {
			return kube.Cached[storagev1.StorageClass](s.classes, types.NamespacedName{Name: name})
		},
		Limits: s.limits,
	}
}

func (s *storage) claim(namespace, name string) *corev1.PersistentVolumeClaim {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	c := kube.Cached[corev1.PersistentVolumeClaim](s.claims, key)
	s.mu.Lock()
	node, decided := s.chosen[key]
	s.mu.Unlock()
	if c == nil || !decided {
		return c
	}
	out := *c
	out.Annotations = maps.Clone(c.Annotations)
	metav1.SetMetaDataAnnotation(&out.ObjectMeta, volume.AnnSelectedNode, node)
	return &out
}

func (s *storage) volume(name string) *corev1.PersistentVolume {
	s.mu.Lock()
	v := s.given[name]
	s.mu.Unlock()
	if v != nil {
		return v
	}
	return kube.Cached[corev1.PersistentVolume](s.volumes, types.NamespacedName{Name: name})
}

func (s *storage) limits(node string) map[string]int {
	if s.nodes == nil {
		return nil
	}
	n := kube.Cached[storagev1.CSINode](s.nodes, types.NamespacedName{Name: node})
	if n == nil {
		return nil
	}
	out := map[string]int{}
	for i := range n.Spec.Drivers {
		if d := &n.Spec.Drivers[i]; d.Allocatable != nil && d.Allocatable.Count != nil {
			out[d.Name] = int(*d.Allocatable.Count)
		}
	}
	return out
}

// assume has the next decisions count with what has been decided for a pod on the node.
func (s *storage) assume(b placement.Bindings, node string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range b.Matches {
		v, _, err := volume.GetBindVolumeToClaim(m.Volume, m.Claim)
		if err != nil {
			return fmt.Errorf("volume %s for claim %s: %w", m.Volume.Name, kube.Key(m.Claim), err)
		}
		s.given[v.Name] = v
	}
	for _, c := range b.Provision {
		if c.Annotations[volume.AnnSelectedNode] != node {
			s.chosen[kube.Key(c)] = node
		}
	}
	return nil
}

// withdraw ends what assume began.
func (s *storage) withdraw(b placement.Bindings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range b.Matches {
		delete(s.given, m.Volume.Name)
	}
	for _, c := range b.Provision {
		delete(s.chosen, kube.Key(c))
	}
}

// bind writes what has been decided for the pod and waits until its claims are bound.
func (s *storage) bind(ctx context.Context, client kubernetes.Interface, b placement.Bindings, node string, gone func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, volumesWithin)
	defer cancel()
	for _, m := range b.Matches {
		v, _, err := volume.GetBindVolumeToClaim(m.Volume, m.Claim)
		if err != nil {
			return err
		}
		if _, err := client.CoreV1().PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	for _, c := range b.Provision {
		if c.Annotations[volume.AnnSelectedNode] == node {
			continue
		}
		c = c.DeepCopy()
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, volume.AnnSelectedNode, node)
		if _, err := client.CoreV1().PersistentVolumeClaims(c.Namespace).Update(ctx, c, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done, err := s.bound(b, node); done || err != nil {
			return err
		}
		if gone() {
			return errors.New("pod does not exist any more")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("binding volumes: %w", ctx.Err())
		}
	}
}

// bound reports whether all claims are; an error is that one will not be.
func (s *storage) bound(b placement.Bindings, node string) (bool, error) {
	all := true
	check := func(old *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
		c := s.claim(old.Namespace, old.Name)
		if c == nil || c.UID != old.UID {
			return nil, fmt.Errorf("persistentvolumeclaim %q not found", old.Name)
		}
		all = all && placement.Bound(c)
		return c, nil
	}
	for _, m := range b.Matches {
		if _, err := check(m.Claim); err != nil {
			return false, err
		}
		if v := s.volume(m.Volume.Name); v == nil || v.Spec.ClaimRef == nil {
			return false, fmt.Errorf("ClaimRef got reset for pv %q", m.Volume.Name)
		}
	}
	for _, old := range b.Provision {
		c, err := check(old)
		if err != nil {
			return false, err
		}
		if c.Annotations[volume.AnnSelectedNode] != node {
			return false, fmt.Errorf("provisioning failed for PVC %q", c.Name)
		}
	}
	return all, nil
}
