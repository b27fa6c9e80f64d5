// Package gateways watches the objects of Gateway API. It is for whoever has
// found out that there are some: each kind that is watched has the API server
// keep what serves it. A kind that is not served is an empty one, until it is.
package gateways

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/gateway"
)

// kinds are the resources, each with an empty object and list.
func kinds() map[string][2]runtime.Object {
	return map[string][2]runtime.Object{
		"gatewayclasses":     {&gw.GatewayClass{}, &gw.GatewayClassList{}},
		"gateways":           {&gw.Gateway{}, &gw.GatewayList{}},
		"listenersets":       {&gw.ListenerSet{}, &gw.ListenerSetList{}},
		"httproutes":         {&gw.HTTPRoute{}, &gw.HTTPRouteList{}},
		"grpcroutes":         {&gw.GRPCRoute{}, &gw.GRPCRouteList{}},
		"tlsroutes":          {&gw.TLSRoute{}, &gw.TLSRouteList{}},
		"tcproutes":          {&gw.TCPRoute{}, &gw.TCPRouteList{}},
		"udproutes":          {&gw.UDPRoute{}, &gw.UDPRouteList{}},
		"referencegrants":    {&gw.ReferenceGrant{}, &gw.ReferenceGrantList{}},
		"backendtlspolicies": {&gw.BackendTLSPolicy{}, &gw.BackendTLSPolicyList{}},
	}
}

// Gateways are the objects of Gateway API that there are. Make them with New.
type Gateways struct {
	client    rest.Interface
	informers map[string]cache.SharedIndexInformer
	changed   chan struct{}
}

// New returns Gateways that are read by a client of config once they run. Without statuses a change of a status is none.
func New(config *rest.Config, statuses bool) (*Gateways, error) {
	client, err := Client(config)
	if err != nil {
		return nil, err
	}
	g := &Gateways{client: client, informers: map[string]cache.SharedIndexInformer{}, changed: make(chan struct{}, 1)}
	for resource, empty := range kinds() {
		informer := cache.NewSharedIndexInformer(source{g.read(resource, empty[1])}, empty[0], 0, cache.Indexers{})
		if err := informer.SetTransform(trim); err != nil {
			return nil, err
		}
		if _, err := informer.AddEventHandler(g.handler(statuses)); err != nil {
			return nil, err
		}
		g.informers[resource] = informer
	}
	return g, nil
}

// Client is a client for the group.
func Client(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := gw.Install(scheme); err != nil {
		return nil, err
	}
	version := schema.GroupVersion(gw.GroupVersion)
	metav1.AddToGroupVersion(scheme, version)
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &version, "/apis"
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(c)
}

// source is a ListWatch whose first list is a list: a kind that is not served is one without objects.
type source struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by reflectors.
func (source) IsWatchListSemanticsUnSupported() bool { return true }

func (g *Gateways) read(resource string, empty runtime.Object) *cache.ListWatch {
	parameters := metav1.ParameterCodec
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list := empty.DeepCopyObject()
			err := g.client.Get().Resource(resource).VersionedParams(&o, parameters).Do(ctx).Into(list)
			if apierrors.IsNotFound(err) {
				return empty.DeepCopyObject(), nil
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return g.client.Get().Resource(resource).VersionedParams(&o, parameters).Watch(ctx)
		},
	}
}

// trim drops what nobody reads.
func trim(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

func (g *Gateways) handler(statuses bool) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { g.tell() },
		UpdateFunc: func(old, now any) {
			before, after := old.(metav1.Object), now.(metav1.Object)
			if statuses && before.GetResourceVersion() != after.GetResourceVersion() || before.GetGeneration() != after.GetGeneration() ||
				(before.GetDeletionTimestamp() == nil) != (after.GetDeletionTimestamp() == nil) {
				g.tell()
			}
		},
		DeleteFunc: func(any) { g.tell() },
	}
}

func (g *Gateways) tell() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// Changed delivers a value, to one reader, when something has changed.
func (g *Gateways) Changed() <-chan struct{} { return g.changed }

// Run watches until ctx is done.
func (g *Gateways) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, informer := range g.informers {
		all.Go(func() { informer.RunWithContext(ctx) })
	}
	all.Wait()
}

// Await waits until everything is known that there is, or ctx is done.
func (g *Gateways) Await(ctx context.Context) bool {
	checks := make([]cache.DoneChecker, 0, len(g.informers))
	for _, informer := range g.informers {
		checks = append(checks, informer.HasSyncedChecker())
	}
	return cache.WaitFor(ctx, "", checks...)
}

// Fill puts the objects that there are now into a View.
func (g *Gateways) Fill(v *gateway.View) {
	v.Classes = all[*gw.GatewayClass](g, "gatewayclasses")
	v.Gateways = all[*gw.Gateway](g, "gateways")
	v.ListenerSets = all[*gw.ListenerSet](g, "listenersets")
	v.HTTPRoutes = all[*gw.HTTPRoute](g, "httproutes")
	v.GRPCRoutes = all[*gw.GRPCRoute](g, "grpcroutes")
	v.TLSRoutes = all[*gw.TLSRoute](g, "tlsroutes")
	v.TCPRoutes = all[*gw.TCPRoute](g, "tcproutes")
	v.UDPRoutes = all[*gw.UDPRoute](g, "udproutes")
	v.ReferenceGrants = all[*gw.ReferenceGrant](g, "referencegrants")
	v.Policies = all[*gw.BackendTLSPolicy](g, "backendtlspolicies")
}

func all[T any](g *Gateways, resource string) []T {
	list := g.informers[resource].GetStore().List()
	out := make([]T, len(list))
	for i, obj := range list {
		out[i] = obj.(T)
	}
	return out
}
