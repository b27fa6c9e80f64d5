package apiserver

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

// directOptions are storage options whose storage calls the embedded etcd directly. k8s.io/apiserver only knows how to
// reach an etcd by gRPC, which for one in the same process was a sixth of what creating an object costs.
type directOptions struct {
	generic.RESTOptionsGetter
	b      *backend
	cached bool // whether a watch cache stands before the storage
}

// direct replaces the storage of the given options; those of an external etcd keep theirs, but for the two that are written in one
// transaction. In both, writes last.
func (b *backend) direct(getter generic.RESTOptionsGetter, cached bool) generic.RESTOptionsGetter {
	return lastingOptions{directOptions{getter, b, cached}, b}
}

// GetRESTOptions is part of generic.RESTOptionsGetter.
func (d directOptions) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	o, err := d.RESTOptionsGetter.GetRESTOptions(resource, example)
	if d.b.embedded == nil && resource != servicesResource && resource != ipAddressesResource {
		return o, err
	}
	o.Decorator = d.b.raw
	if d.cached {
		o.Decorator = d.b.storage
	}
	return o, err
}

// raw is the storage of one resource over a client of its own, since requests for a watch's progress reach every watch of a client.
func (b *backend) raw(config *storagebackend.ConfigForResource, prefix string, _ func(runtime.Object) (string, error),
	newFunc, newListFunc func() runtime.Object, _ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	plain, err := b.client()
	if err != nil {
		return nil, nil, err
	}
	client := &kubernetes.Client{Client: plain}
	client.Kubernetes = client
	switch config.GroupResource {
	case servicesResource:
		client.Kubernetes, b.services = joint{*client, b}, plain
	case ipAddressesResource:
		b.addresses = &written{config, config.Prefix + prefix + "/"}
	}
	versioner := storage.APIObjectVersioner{}
	raw, err := etcd3.New(client, b.compactor, config.Codec, newFunc, newListFunc, config.Prefix, prefix, config.GroupResource,
		config.Transformer, config.LeaseManagerConfig, etcd3.NewDefaultDecoder(config.Codec, versioner), versioner)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	if b.embedded != nil {
		feature.DefaultFeatureSupportChecker.CheckClient(client.Ctx(), embedded{}, storage.RequestWatchProgress)
	}
	return raw, sync.OnceFunc(func() {
		raw.Close()
		client.Close()
	}), nil
}

// storage is raw storage behind a watch cache, from when there is a watch.
func (b *backend) storage(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
	newFunc, newListFunc func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
	raw, destroy, err := b.raw(config, prefix, key, newFunc, newListFunc, attrs, triggers, indexers)
	if err != nil {
		return nil, nil, err
	}
	s := &onDemand{Interface: raw, open: func() (*cacher.Cacher, error) {
		return cacher.NewCacherFromConfig(cacher.Config{
			Storage: raw, Versioner: storage.APIObjectVersioner{}, GroupResource: config.GroupResource, EventsHistoryWindow: config.EventsHistoryWindow,
			ResourcePrefix: prefix, KeyFunc: key, NewFunc: newFunc, NewListFunc: newListFunc, GetAttrsFunc: attrs,
			IndexerFuncs: triggers, Indexers: indexers, Codec: config.Codec,
		})
	}}
	return s, sync.OnceFunc(func() {
		s.close()
		destroy()
	}), nil
}

// embedded tells the check of what an etcd can do that it is one of this program's release.
type embedded struct{}

// Endpoints is under which names the result is kept.
func (embedded) Endpoints() []string { return []string{"embedded"} }

// Status is what the check asks an endpoint for.
func (embedded) Status(context.Context, string) (*clientv3.StatusResponse, error) {
	return &clientv3.StatusResponse{Version: version.Version}, nil
}
