package world

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	own "fairlead.dev/fairlead/api/kinds"
)

// What is read over client-go's connections is read by client-go's scheme.
func init() { utilruntime.Must(own.AddToScheme(scheme.Scheme)) }

// registerOwn gives a World the tables of our own group's kinds.
func (w *World) registerOwn() {
	w.pools = newTable(w, row[*own.AddressPool]{
		kind: AddressPools, empty: &own.AddressPool{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return readingOwn("addresspools", c, func() runtime.Object { return &own.AddressPoolList{} })
		},
		trim:  func(p *own.AddressPool) { p.Status = own.AddressPoolStatus{} },
		alike: func(before, after *own.AddressPool) bool { return equality.Semantic.DeepEqual(before.Spec, after.Spec) },
	})
	w.peers = newTable(w, row[*own.BGPPeer]{
		kind: BGPPeers, empty: &own.BGPPeer{},
		read: func(c kubernetes.Interface) *cache.ListWatch {
			return readingOwn("bgppeers", c, func() runtime.Object { return &own.BGPPeerList{} })
		},
		trim: func(p *own.BGPPeer) { p.Status = own.BGPPeerStatus{} },
		// The status follows what nodes do.
		alike: func(before, after *own.BGPPeer) bool {
			return before.UID == after.UID && equality.Semantic.DeepEqual(before.Spec, after.Spec)
		},
	})
}

// readingOwn reads a kind of our own group, for which client-go has no client.
func readingOwn(resource string, c kubernetes.Interface, list func() runtime.Object) *cache.ListWatch {
	request := func(o metav1.ListOptions) *rest.Request {
		return c.CoreV1().RESTClient().Get().AbsPath("/apis", own.GroupName, own.SchemeGroupVersion.Version, resource).
			SetHeader("Accept", runtime.ContentTypeJSON).VersionedParams(&o, scheme.ParameterCodec)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			all := list()
			return all, request(o).Do(ctx).Into(all)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return request(o).Watch(ctx)
		},
	}
}

// Pools returns all AddressPools, sorted by name.
func (w *World) Pools() []*own.AddressPool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.pools.inOrder()
}

// Peers returns all BGPPeers, sorted by name.
func (w *World) Peers() []*own.BGPPeer {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.peers.inOrder()
}
