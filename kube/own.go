package kube

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api/kinds"
)

// Events about our own kinds name them by client-go's scheme.
func init() { utilruntime.Must(kinds.AddToScheme(scheme.Scheme)) }

// Pools is a client of AddressPools.
type Pools = gentype.ClientWithList[*kinds.AddressPool, *kinds.AddressPoolList]

// NewPools returns a client of AddressPools that connects as a configuration says.
func NewPools(config *rest.Config) (*Pools, error) {
	client, codec, err := ownClient(config)
	if err != nil {
		return nil, err
	}
	return gentype.NewClientWithList[*kinds.AddressPool, *kinds.AddressPoolList]("addresspools", client, codec, "",
		func() *kinds.AddressPool { return &kinds.AddressPool{} }, func() *kinds.AddressPoolList { return &kinds.AddressPoolList{} }), nil
}

// Peers is a client of BGPPeers.
type Peers = gentype.ClientWithList[*kinds.BGPPeer, *kinds.BGPPeerList]

// NewPeers returns a client of BGPPeers that connects as a configuration says.
func NewPeers(config *rest.Config) (*Peers, error) {
	client, codec, err := ownClient(config)
	if err != nil {
		return nil, err
	}
	return gentype.NewClientWithList[*kinds.BGPPeer, *kinds.BGPPeerList]("bgppeers", client, codec, "",
		func() *kinds.BGPPeer { return &kinds.BGPPeer{} }, func() *kinds.BGPPeerList { return &kinds.BGPPeerList{} }), nil
}

// ownClient is a connection for the kinds of our own group, and how options are written for it.
func ownClient(config *rest.Config) (rest.Interface, runtime.ParameterCodec, error) {
	s := runtime.NewScheme()
	utilruntime.Must(kinds.AddToScheme(s))
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = "/apis", &kinds.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(s).WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("client of %s: %w", kinds.SchemeGroupVersion, err)
	}
	return client, runtime.NewParameterCodec(s), nil
}

// PoolInformer is a cache of all AddressPools, which the caller runs.
func PoolInformer(client *Pools) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	}, &kinds.AddressPool{}, time.Duration(0), cache.Indexers{})
}
