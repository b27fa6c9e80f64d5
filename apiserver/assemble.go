package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/apiserver/auth"
	"fairlead.dev/fairlead/apiserver/custom"
	"fairlead.dev/fairlead/apiserver/issuers"
	"fairlead.dev/fairlead/apiserver/nodelink"
	"fairlead.dev/fairlead/apiserver/openapi"
	"fairlead.dev/fairlead/apiserver/registry"
)

const (
	// joinPath is where a node asks for its certificates, holding only a token.
	joinPath = "/fairlead/v1/join"
	// drainTimeout bounds how long a stop waits for watches to end.
	drainTimeout = time.Second
	// hangUpTimeout bounds how long a stop waits, requests in flight aside, for clients to close their
	// connections: an idle HTTP/2 client does not by itself, and would cost every stop a second.
	hangUpTimeout = 50 * time.Millisecond
)

// assemble builds the server with every group installed; nothing serves yet.
func assemble(ctx context.Context, cfg Config, id *identity, own *self, listener net.Listener, etcd *backend, k *keeper, acknowledged *registry.Acknowledged, log *slog.Logger) (*genericapiserver.GenericAPIServer, *custom.Server, error) {
	bound := &auth.Bound{}
	accounts, err := newAccounts(cfg, own)
	if err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	generic := genericConfig(cfg, id, listener, accounts)
	roles, err := newRoles(generic, own, bound)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(cfg.Audit.apply(generic), knowUsers(ctx, generic, cfg.Issuers, log), etcd.apply(generic, cfg)); err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	etcd.seed(ctx, generic.RESTOptionsGetter, roles.policy) // before anything reads or watches roles
	groups, err := registry.Groups(ctx, registry.Config{
		RESTOptions: generic.RESTOptionsGetter, Unwatched: etcd.unwatched, PodCIDRs: cfg.PodCIDRs, ServiceCIDRs: cfg.ServiceCIDRs, NodePorts: cfg.NodePorts, ClusterDomain: cfg.Domain,
		AllowExternalIPs: cfg.AllowExternalIPs, Authorizer: generic.Authorization.Authorizer, ResourceOf: own.resourceOf, Acknowledged: acknowledged, PortClaims: portClaims{etcd},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("api server: kinds: %w", err)
	}
	own.groups, own.created = groups, &etcd.creations
	core := groups[0].VersionedResourcesStorageMap["v1"]
	if err := errors.Join(accounts.serve(core), known(bound, groups)); err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	webhooks, used, err := addStreams(groups, id, cfg, bound.Nodes)
	if err != nil {
		return nil, nil, err
	}
	if generic.AdmissionControl, err = admit(cfg, own, generic, groups, webhooks, bound, accounts); err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	customs, err := customResources(generic, etcd, webhooks)
	if err != nil {
		return nil, nil, err
	}
	fair, others := newFairness(generic, own), newAggregate(generic)
	api, err := generic.Complete(own.informers).New("fairlead", genericapiserver.NewEmptyDelegateWithCustomHandler(customs))
	if err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	own.serves(api.Handler)
	api.ShutdownTimeout = hangUpTimeout
	groups = append(append(groups, reviewGroups(generic, accounts)...), used)
	if err := errors.Join(accounts.publish(api), others.configure(cfg, id, own, api, groups, webhooks, log), install(api, groups, customs)); err != nil {
		return nil, nil, fmt.Errorf("api server: %w", err)
	}
	serveOpenAPI(api, customs, others.others, generic)
	serveMetrics(api, cfg.Metrics)
	routes.Index{}.Install(routes.ListedPathProviders{api, customs}, api.Handler.NonGoRestfulMux)
	api.RegisterDestroyFunc(customs.Destroy)
	addHooks(api, customs, k, core["services"], log)
	api.AddPostStartHookOrDie("fairlead-encryption", func(hook genericapiserver.PostStartHookContext) error { return etcd.followKeys(hook, log) })
	roles.addHook(api, log)
	fair.addHook(api, log)
	others.addHook(api, customs)
	return api, customs, nil
}

// knowUsers has c know users by the tokens of others.
func knowUsers(ctx context.Context, c *genericapiserver.Config, of issuers.Config, log *slog.Logger) error {
	if !of.Enabled() {
		return nil
	}
	of.Reserved, of.Audiences = c.Authentication.APIAudiences, c.Authentication.APIAudiences
	users, err := issuers.New(ctx, of, log)
	if err != nil {
		return err
	}
	c.Authentication.Authenticator = users.After(c.Authentication.Authenticator)
	return nil
}

// install installs groups, the first of which is core. The definitions by which it makes the merge rules of server-side apply are
// given back: megabytes that nobody reads again.
func install(api *genericapiserver.GenericAPIServer, groups []*genericapiserver.APIGroupInfo, customs *custom.Server) error {
	if err := api.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, groups[0]); err != nil {
		return fmt.Errorf("core group: %w", err)
	}
	if err := api.InstallAPIGroups(groups[1:]...); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	for _, g := range groups {
		g.StaticOpenAPISpec = nil
	}
	return customs.ListGroups(api.DiscoveryGroupManager, groupNames(groups))
}

// addHooks adds what begins when the server serves.
func addHooks(api *genericapiserver.GenericAPIServer, customs *custom.Server, k *keeper, services rest.Storage, log *slog.Logger) {
	api.AddPostStartHookOrDie("fairlead-custom-resources", func(hook genericapiserver.PostStartHookContext) error {
		customs.Start(hook, api.Handler)
		return nil
	})
	api.AddPostStartHookOrDie("fairlead-bootstrap", func(hook genericapiserver.PostStartHookContext) error {
		k.bootstrap(hook, log)
		return nil
	})
	api.AddPostStartHookOrDie("fairlead-service-numbers", func(hook genericapiserver.PostStartHookContext) error {
		go k.repairNumbers(hook, services, log)
		go k.keepRanges(hook, services, log)
		return nil
	})
}

// genericConfig holds the choices that do not depend on kinds or storage.
func genericConfig(cfg Config, id *identity, listener net.Listener, accounts *accounts) *genericapiserver.Config {
	c := genericapiserver.NewConfig(registry.Codecs)
	c.SecureServing = &genericapiserver.SecureServingInfo{Listener: listener, Cert: id.serving, ClientCA: id.clients}
	c.LoopbackClientConfig = id.client()
	c.ExternalAddress = net.JoinHostPort(cfg.Advertise.String(), strconv.Itoa(int(id.port)))
	c.EffectiveVersion = newRelease()
	c.Authentication.Authenticator = auth.Authenticator(cfg.CA.Pool(), accounts.tokens)
	c.Authentication.APIAudiences = accounts.issuer.Audiences()
	c.EnableProfiling = cfg.Profiling
	c.EnableIndex = false                                                     // assemble installs one that lists custom resources too
	c.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis") // shared with custom resources
	c.LongRunningFunc = genericfilters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))
	c.ShutdownWatchTerminationGracePeriod = drainTimeout
	c.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		chain := genericapiserver.DefaultBuildHandlerChain(withTurns(withQuantities(withBlame(api, c.Serializer), c.Serializer), listTurns(), c.Serializer), c)
		return withJoin(withClock(chain, cfg.CA, c.Serializer, time.Now), cfg.Join)
	}
	namer := openapinamer.NewDefinitionNamer(openapi.Scheme())
	c.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, namer)
	c.OpenAPIConfig.Info.Title = "Kubernetes"
	c.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, namer)
	c.OpenAPIV3Config.Info.Title = "Kubernetes"
	c.SkipOpenAPIInstallation = true // serveOpenAPI installs the documents
	return c
}

// withJoin serves a joining node before authentication: it has no certificate yet, and its handler checks
// the token it brings.
func withJoin(api, join http.Handler) http.Handler {
	if join == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == joinPath {
			join.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// reviewGroups are the groups whose objects are questions, answered at once and never stored.
func reviewGroups(c *genericapiserver.Config, accounts *accounts) []*genericapiserver.APIGroupInfo {
	authentication := genericapiserver.NewDefaultAPIGroupInfo("authentication.k8s.io", registry.Scheme, registry.ParameterCodec, registry.Codecs)
	authentication.VersionedResourcesStorageMap["v1"] = auth.AuthenticationReviews(c.Authentication.Authenticator, accounts.issuer.Audiences())
	authorization := genericapiserver.NewDefaultAPIGroupInfo("authorization.k8s.io", registry.Scheme, registry.ParameterCodec, registry.Codecs)
	authorization.VersionedResourcesStorageMap["v1"] = auth.AuthorizationReviews(c.Authorization.Authorizer, c.RuleResolver)
	return []*genericapiserver.APIGroupInfo{&authentication, &authorization}
}

// serveOpenAPI installs the OpenAPI documents of the installed groups. The definitions, which server-side
// apply needed for its merge rules while the groups were installed, are dropped: a document makes them anew.
func serveOpenAPI(api *genericapiserver.GenericAPIServer, customs *custom.Server, others openapi.Others, c *genericapiserver.Config) {
	c.OpenAPIV3Config.Definitions = nil
	c.OpenAPIConfig.GetDefinitions, c.OpenAPIV3Config.GetDefinitions = openapi.AllDefinitions, openapi.AllDefinitions
	routes := func() []common.RouteContainer {
		return append(restfuladapter.AdaptWebServices(api.Handler.GoRestfulContainer.RegisteredWebServices()), customs.Routes()...)
	}
	var groups []string
	for _, r := range routes() {
		groups = append(groups, strings.TrimPrefix(r.RootPath(), "/"))
	}
	openapi.NewDocuments(groups, routes, customs, others, c.OpenAPIConfig, c.OpenAPIV3Config).Install(api.Handler.NonGoRestfulMux)
}

// addStreams adds the subresources of the core group that something outside of this server answers, and
// returns what finds the endpoints of Services, and connects to them, and the group that nodes answer for.
func addStreams(groups []*genericapiserver.APIGroupInfo, id *identity, cfg Config, nodes nodelink.Nodes) (nodelink.Resolver, *genericapiserver.APIGroupInfo, error) {
	var to nodelink.Resolver
	core := groups[0].VersionedResourcesStorageMap["v1"]
	pods, err := getter(core, "pods")
	if err != nil {
		return to, nil, err
	}
	if to.Services, err = getter(core, "services"); err != nil {
		return to, nil, err
	}
	var ok bool
	if to.Slices, ok = find(groups, "discovery.k8s.io")["endpointslices"].(rest.Lister); !ok {
		return to, nil, errors.New("api server: endpoint slices cannot be listed")
	}
	link := nodelink.New(pods, nodes, id.toNodes, cfg.CA.Pool(), cfg.Claims(), id.port)
	to.Dial = link.Dial
	maps.Copy(core, link.Storage(to))
	used, err := usageGroup(groups, link)
	return to, used, err
}

// known gives bound the storages that it reads.
func known(bound *auth.Bound, groups []*genericapiserver.APIGroupInfo) error {
	for _, of := range []struct {
		group, resource string
		storage         *auth.Storage
	}{
		{"", "pods", &bound.Pods}, {"", "nodes", &bound.Nodes}, {"", "services", &bound.Services}, {"", "persistentvolumes", &bound.Volumes},
		{"networking.k8s.io", "ingresses", &bound.Ingresses}, {"networking.k8s.io", "ingressclasses", &bound.IngressClasses},
		{kinds.GroupName, "bgppeers", &bound.BGPPeers},
		{"certificates.k8s.io", "podcertificaterequests", &bound.Requests}, {"", "serviceaccounts", &bound.Accounts},
	} {
		var ok bool
		if *of.storage, ok = find(groups, of.group)[of.resource].(auth.Storage); !ok {
			return fmt.Errorf("%s cannot be read", of.resource)
		}
	}
	return nil
}

// getter is the storage of a resource, to be read.
func getter(storage map[string]rest.Storage, resource string) (rest.Getter, error) {
	g, ok := storage[resource].(rest.Getter)
	if !ok {
		return nil, fmt.Errorf("api server: %s of type %T cannot be read", resource, storage[resource])
	}
	return g, nil
}

// find is the storage of a group's version 1.
func find(groups []*genericapiserver.APIGroupInfo, name string) map[string]rest.Storage {
	for _, g := range groups {
		if g.PrioritizedVersions[0].Group == name {
			return g.VersionedResourcesStorageMap["v1"]
		}
	}
	return nil
}

// addrPort is where the API is served at address a, which the kubernetes Service sends to.
func (id *identity) addrPort(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, id.port) }
