package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
)

// publish keeps the cluster's own objects right until ctx ends: it looks again whenever one of them
// changes, and after a failure a second later.
func (k keeper) publish(ctx context.Context, log *slog.Logger) error {
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	own := only(k.client, api.APIService)
	dns := only(k.client, api.DNSService)
	for _, informer := range []cache.SharedIndexInformer{
		own.Core().V1().Services().Informer(), own.Core().V1().Endpoints().Informer(),
		own.Discovery().V1().EndpointSlices().Informer(), dns.Core().V1().Services().Informer(),
	} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			UpdateFunc: func(any, any) { notify() },
			DeleteFunc: func(any) { notify() },
		}); err != nil {
			return fmt.Errorf("watch the kubernetes service: %w", err)
		}
	}
	own.Start(ctx.Done())
	dns.Start(ctx.Done())
	defer own.Shutdown()
	defer dns.Shutdown()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		// A round under way is finished, not broken off, at a stop: the server waits for its requests.
		if err := k.keep(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Warn("the cluster's own objects cannot be kept, trying again", "err", err)
			time.AfterFunc(time.Second, notify)
		}
	}
}

// only is a factory of informers over the objects of one name.
func only(client kubernetes.Interface, name types.NamespacedName) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(name.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name.Name).String()
		}))
}
