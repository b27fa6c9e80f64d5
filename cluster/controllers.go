package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/controller/accounts"
	"fairlead.dev/fairlead/controller/bgp"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/controller/garbage"
	"fairlead.dev/fairlead/controller/gateway"
	"fairlead.dev/fairlead/controller/ingress"
	"fairlead.dev/fairlead/controller/loadbalancer"
	"fairlead.dev/fairlead/controller/localvolume"
	"fairlead.dev/fairlead/controller/nodes"
	"fairlead.dev/fairlead/controller/quota"
	"fairlead.dev/fairlead/controller/scheduler"
	"fairlead.dev/fairlead/controller/upstream"
	"fairlead.dev/fairlead/controller/why"
	"fairlead.dev/fairlead/controller/workload"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/secrets"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// customs is what controllers use of the API server in their process to learn what is used, custom resources above all.
type customs struct {
	gateway gateway.Store
	garbage garbage.Customs
	first   kube.First
}

func customsOf(api *apiserver.Server) customs {
	return customs{
		gateway.Store{Names: api.CustomNames, AwaitUse: api.AwaitUse, Preset: api.Preset, PresetObject: api.PresetObject},
		garbage.Customs{Unused: api.Unused, OnWrite: api.OnWrite},
		api.AwaitFirst,
	}
}

// startControllers starts every controller over one set of caches, which w shares, if there is one. What they count is registered with metrics, and shown on the
// API server's /metrics.
func startControllers(ctx context.Context, g *errgroup.Group, cfg *rest.Config, ca *pki.Authority, s config.Settings, w *world.World, customs customs, token accounts.Token, metrics prometheus.Registerer, log *slog.Logger) (kubernetes.Interface, error) {
	cfg.WarningHandler = rest.NoWarnings{} // that v1 Endpoints is deprecated is for people to read
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	shared := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	if w != nil {
		w.Share(shared)
	}
	collector, err := garbage.New(cfg, shared, ca.CertPEM(), customs.garbage, metrics, log.With("part", "garbage"))
	if err != nil {
		return nil, fmt.Errorf("garbage: %w", err)
	}
	caller, err := ca.Source(peer.Caller())
	if err != nil {
		return nil, err
	}
	pools, err := kube.NewPools(cfg)
	if err != nil {
		return nil, err
	}
	routers, err := kube.NewPeers(cfg)
	if err != nil {
		return nil, err
	}
	addresses := loadbalancer.Config{Pods: s.Pods, Services: s.Services, ExternalIPs: config.Yes(s.AllowExternalIPs), Default: s.Pool.Spec}
	classes := classesOf(s)
	agents := peer.NewAsker(caller, ca.Pool(), healthcheck.MaxInFlight)
	follows := ingress.Follows{Secrets: secrets.New(client, log.With("part", "ingress")), ConfigMaps: secrets.NewConfigMaps(client, log.With("part", "ingress"))}
	adapters, err := newAdapters(client, cfg, shared, ca, customs.first, log)
	if err != nil {
		return nil, err
	}
	balancers := loadbalancer.New(client, pools, shared, loadbalancer.Agents(agents), addresses, metrics, log.With("part", "loadbalancer"))
	runs := map[string]func(context.Context) error{
		"accounts":     accounts.New(client, shared, ca.CertPEM(), token, log.With("part", "accounts")).Run,
		"workload":     workload.New(client, shared, log.With("part", "workload")).Run,
		"scheduler":    scheduler.New(client, shared, metrics, log.With("part", "scheduler")).Run,
		"endpoints":    endpoints.New(client, shared, metrics, log.With("part", "endpoints")).Run,
		"nodes":        nodes.New(client, shared, s.Pods, metrics, log.With("part", "nodes")).Run,
		"external":     external.New(client, shared, external.Agents(agents), metrics, log.With("part", "external")).Run,
		"garbage":      collector.Run,
		"ingress":      ingress.New(client, shared, follows, classes, log.With("part", "ingress")).Run,
		"secrets":      follows.Secrets.Run,
		"configmaps":   follows.ConfigMaps.Run,
		"loadbalancer": balancers.Run,
		"gateway":      gateway.New(client, cfg, shared, customs.gateway, gateway.Agents(agents), log.With("part", "gateway")).Run,
		"bgp":          bgp.New(client, routers, shared, bgp.Agents(agents), balancers.Told, log.With("part", "bgp")).Run,
		"localvolume":  localvolume.New(client, shared, customs.first, localvolume.Agents(agents), log.With("part", "localvolume")).Run,
		"why":          why.New(client, shared, s.Pods, s.Services, log.With("part", "why")).Run,
	}
	maps.Copy(runs, adapters)
	shared.Start(ctx.Done())
	for name, run := range runs {
		g.Go(named(name, ctx, run))
	}
	return client, nil
}

// newAdapters are the controllers that decide by upstream's code, each from when there is something to decide. What quotas limit is
// counted in caches of metadata that there are while one names a resource.
func newAdapters(client kubernetes.Interface, cfg *rest.Config, shared informers.SharedInformerFactory, ca *pki.Authority, first kube.First, log *slog.Logger) (map[string]func(context.Context) error, error) {
	objects, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	resources := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	return map[string]func(context.Context) error{
		"quota":    quota.New(client, objects, resources, shared, first, log.With("part", "quota")).Run,
		"upstream": upstream.New(cfg, client, shared, ca, first, log.With("part", "upstream")).Run,
	}, nil
}

// classesOf are the IngressClasses that are made and served: none, if no Ingress is.
func classesOf(s config.Settings) []string {
	if s.Networking.Ingress == nil {
		return nil
	}
	return s.IngressClasses
}

// withoutManagedFields drops what no controller reads and what makes up much of an object's size. It touches no object that is
// without: a World may have it already.
func withoutManagedFields(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok && m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}
