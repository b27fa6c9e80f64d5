package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api/kinds"
)

// podPeers shows of all pods what nodes have to know of each other's, and nothing else. A node may read this, and not the pods of others,
// which tell what runs in them and with which variables.
type podPeers struct {
	rest.TableConvertor
	pods *genericregistry.Store
}

var (
	_ rest.Lister               = podPeers{}
	_ rest.Watcher              = podPeers{}
	_ rest.Scoper               = podPeers{}
	_ rest.SingularNameProvider = podPeers{}
)

func (podPeers) New() runtime.Object     { return &kinds.PodPeer{} }
func (podPeers) NewList() runtime.Object { return &kinds.PodPeerList{} }
func (podPeers) Destroy()                {}
func (podPeers) NamespaceScoped() bool   { return true }
func (podPeers) GetSingularName() string { return "podpeer" }

// List is part of rest.Lister.
func (p podPeers) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	list, err := p.pods.List(ctx, options)
	if err != nil {
		return nil, err
	}
	all := list.(*corev1.PodList)
	shown := &kinds.PodPeerList{ListMeta: all.ListMeta, Items: make([]kinds.PodPeer, len(all.Items))}
	for i := range all.Items {
		shown.Items[i] = *kinds.PeerOf(&all.Items[i])
	}
	return shown, nil
}

// Watch is part of rest.Watcher.
func (p podPeers) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	all, err := p.pods.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return watch.Filter(all, func(e watch.Event) (watch.Event, bool) {
		pod, ok := e.Object.(*corev1.Pod)
		switch {
		case ok && e.Type == watch.Bookmark:
			e.Object = &kinds.PodPeer{ObjectMeta: metav1.ObjectMeta{ResourceVersion: pod.ResourceVersion, Annotations: pod.Annotations}}
		case ok:
			e.Object = kinds.PeerOf(pod)
		}
		return e, true
	}), nil
}
