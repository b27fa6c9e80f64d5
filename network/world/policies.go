package world

import (
	"context"
	"maps"

	own "fairlead.dev/fairlead/api/kinds"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
)

// registerPolicies gives a World the tables of what NetworkPolicies are about.
func (w *World) registerPolicies() {
	w.policies = newTable(w, row[*networkingv1.NetworkPolicy]{
		kind: NetworkPolicies, empty: &networkingv1.NetworkPolicy{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return reading(c.NetworkingV1().NetworkPolicies(metav1.NamespaceAll))
		},
		alike: func(before, after *networkingv1.NetworkPolicy) bool {
			return before.UID == after.UID && equality.Semantic.DeepEqual(before.Spec, after.Spec)
		},
	})
	w.pods = newTable(w, row[*corev1.Pod]{
		kind: Pods, empty: &corev1.Pod{},
		read: readingPods,
		trim: func(p *corev1.Pod) { *p = *api.PodPeer(p) },
		alike: func(before, after *corev1.Pod) bool {
			return before.UID == after.UID && before.Spec.NodeName == after.Spec.NodeName && before.Status.Phase == after.Status.Phase &&
				maps.Equal(before.Labels, after.Labels) && equality.Semantic.DeepEqual(before.Status.PodIPs, after.Status.PodIPs)
		},
	})
}

// readingPods reads what nodes may know of each other's pods; of an API server that is not ours, which has no such thing, the pods.
func readingPods(c kubernetes.Interface) *cache.ListWatch {
	peers := readingOwn("podpeers", c, func() runtime.Object { return &own.PodPeerList{} })
	pods := reading(c.CoreV1().Pods(metav1.NamespaceAll))
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := peers.ListWithContext(ctx, o)
			if apierrors.IsNotFound(err) {
				return pods.ListWithContext(ctx, o)
			}
			if err != nil {
				return nil, err
			}
			all := list.(*own.PodPeerList)
			known := &corev1.PodList{ListMeta: all.ListMeta}
			for i := range all.Items {
				known.Items = append(known.Items, *all.Items[i].Pod())
			}
			return known, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := peers.WatchWithContext(ctx, o)
			if apierrors.IsNotFound(err) {
				return pods.WatchWithContext(ctx, o)
			}
			if err != nil {
				return nil, err
			}
			return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
				if p, ok := e.Object.(*own.PodPeer); ok {
					e.Object = p.Pod()
				}
				return e, true
			}), nil
		},
	}
}

// NetworkPolicies returns all NetworkPolicies, sorted by namespace and name.
func (w *World) NetworkPolicies() []*networkingv1.NetworkPolicy {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.policies.inOrder()
}

// NetworkPolicy returns the named NetworkPolicy, nil when there is none.
func (w *World) NetworkPolicy(name types.NamespacedName) *networkingv1.NetworkPolicy {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.policies.objects[name]
}

// Pod returns what is kept of the named Pod, nil when there is none.
func (w *World) Pod(name types.NamespacedName) *corev1.Pod {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.pods.objects[name]
}
