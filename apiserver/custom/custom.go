// Package custom serves CustomResourceDefinitions and the resources they define: k8s.io/apiextensions-apiserver
// behind the API server, reached by every request that names none of the built-in groups.
//
// It does not run as a delegate of its own right, because its hooks poll ten times a second and readiness
// would wait for them. Start fills its informer first and runs the hooks once they find nothing to wait for.
//
// A large definition takes many times its size as a schema, a validator, compiled rules and merge rules. So each is whole in the store
// only: the library's informer and controllers see lean ones (lean.go), what serves its objects is built when a request needs it and
// let go of when none does (machine.go, fleet.go), and what handles definitions whole is done one at a time (gate.go).
package custom

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	listers "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"fairlead.dev/fairlead/apiserver/loopback"
)

// Config is what custom resources share with the server in front of them.
type Config struct {
	Generic  genericapiserver.Config                       // the server's own choices, not yet completed
	Objects  generic.RESTOptionsGetter                     // how custom resources are stored
	Storage  func(runtime.Codec) generic.RESTOptionsGetter // how definitions are stored that a codec writes, without a watch cache
	Namer    *openapinamer.DefinitionNamer                 // names the models of apiextensions.k8s.io in OpenAPI
	Webhooks webhook.ServiceResolver                       // finds the Services that convert between versions
	Outgoing webhook.AuthenticationInfoResolverWrapper     // how these are called
}

// Server serves definitions and what they define.
type Server struct {
	api    *extensions.CustomResourceDefinitions
	front  http.Handler                              // the server in front, for this server's own clients; set by Start
	listed [2]cache.ResourceEventHandlerRegistration // what keeps the list of groups and the fleet
	synced chan struct{}                             // closed when every definition there was at the start is served

	generic     genericapiserver.Config
	objects     generic.RESTOptionsGetter
	webhooks    webhook.ServiceResolver
	webhookAuth webhook.AuthenticationInfoResolverWrapper
	meta        map[string]*spec.Schema // the models of metadata, which every object has
	definitions definitions
	bare        generic.RESTOptionsGetter // how objects are stored, without a watch cache
	writes      gate                      // of definitions
	uses        Uses
	fleet       fleet
}

// Synced is closed when every definition that there was at the start is served.
func (s *Server) Synced() <-chan struct{} { return s.synced }

// New builds the server; nothing is watched before Start.
func New(cfg Config) (*Server, error) {
	g := cfg.Generic
	g.PostStartHooks = map[string]genericapiserver.PostStartHookConfigEntry{}
	// The server in front runs these.
	g.DisabledPostStartHooks = sets.NewString("max-in-flight-filter", "storage-object-count-tracker-hook")
	g.HealthzChecks, g.LivezChecks, g.ReadyzChecks = nil, nil, nil
	g.BuildHandlerChainFunc = func(api http.Handler, _ *genericapiserver.Config) http.Handler { return api }
	g.MergedResourceConfig = extensions.DefaultAPIResourceConfigSource()
	g.Serializer = extensions.Codecs
	g.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, cfg.Namer)
	g.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, cfg.Namer)
	g.SkipOpenAPIInstallation = true // package openapi makes the documents, when they are asked for
	s := &Server{
		synced: make(chan struct{}), objects: cfg.Objects, webhooks: cfg.Webhooks, writes: newGate(),
		webhookAuth: cfg.Outgoing,
	}
	s.definitions.RESTOptionsGetter = cfg.Storage(extensions.Codecs.LegacyCodec(apiextensionsv1.SchemeGroupVersion))
	s.bare = cfg.Storage(unstructured.UnstructuredJSONScheme)
	s.fleet = fleet{build: s.build, building: newGate(), machines: map[types.UID]*machine{}}
	g.RESTOptionsGetter = &s.definitions
	g.LoopbackClientConfig = rest.CopyConfig(g.LoopbackClientConfig)
	g.LoopbackClientConfig.TLSClientConfig = rest.TLSClientConfig{}
	g.LoopbackClientConfig.Transport = &loopback.Transport{Handler: http.HandlerFunc(s.lean)}
	s.generic = g
	c := extensions.Config{
		GenericConfig: &genericapiserver.RecommendedConfig{Config: g},
		ExtraConfig: extensions.ExtraConfig{
			CRDRESTOptionsGetter: cfg.Objects, MasterCount: 1, ServiceResolver: cfg.Webhooks, AuthResolverWrapper: s.webhookAuth,
		},
	}
	var err error
	if s.api, err = c.Complete().New(genericapiserver.NewEmptyDelegate()); err != nil {
		return nil, fmt.Errorf("custom resources: %w", err)
	}
	if s.meta, err = builder3.BuildOpenAPIDefinitionsForResources(g.OpenAPIV3Config, metav1.ObjectMeta{}.OpenAPIModelName(), metav1.ListMeta{}.OpenAPIModelName()); err != nil {
		return nil, fmt.Errorf("custom resources: models of metadata: %w", err)
	}
	// Only installing the group needed the definitions of its models.
	g.OpenAPIV3Config.Definitions = nil
	if s.listed[0], err = s.informer().AddEventHandler(s.fleet.handlers()); err != nil {
		return nil, fmt.Errorf("custom resources: watch definitions: %w", err)
	}
	return s, nil
}

// build makes what serves a definition, as that is stored now.
func (s *Server) build(ctx context.Context, name string) (*machine, error) {
	d, err := s.definitions.whole(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.newMachine(ctx, d)
}

// Start serves the definitions there are and follows their changes until ctx ends. front is the server that this one's own requests
// go to. It returns when the definitions of the start are served, or ctx has ended.
func (s *Server) Start(ctx context.Context, front http.Handler) {
	s.front = front
	s.api.Informers.Start(ctx.Done())
	select {
	case <-s.informer().HasSyncedChecker().Done():
	case <-ctx.Done():
		return
	}
	s.api.GenericAPIServer.RunPostStartHooks(ctx)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !s.hooksDone() || !s.listed[0].HasSynced() || !s.listed[1].HasSynced() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
	close(s.synced)
}

func (s *Server) hooksDone() bool {
	for _, c := range s.api.GenericAPIServer.HealthzChecks() {
		if c.Check(nil) != nil {
			return false
		}
	}
	return true
}

// Destroy lets go of the storage.
func (s *Server) Destroy() {
	s.fleet.destroy()
	s.api.GenericAPIServer.Destroy()
}

// Definitions is what the server knows of CustomResourceDefinitions: all but their schemas.
func (s *Server) Definitions() listers.CustomResourceDefinitionLister {
	return s.api.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()
}

// Whole is a definition as it is stored now.
func (s *Server) Whole(ctx context.Context, name string) (*apiextensionsv1.CustomResourceDefinition, error) {
	return s.definitions.whole(ctx, name)
}

func (s *Server) informer() cache.SharedIndexInformer {
	return s.api.Informers.Apiextensions().V1().CustomResourceDefinitions().Informer()
}

// Routes are the routes of the group apiextensions.k8s.io, for its OpenAPI documents.
func (s *Server) Routes() []common.RouteContainer {
	var own []common.RouteContainer
	for _, r := range restfuladapter.AdaptWebServices(s.api.GenericAPIServer.Handler.GoRestfulContainer.RegisteredWebServices()) {
		if isDefinitionPath(r.RootPath()) {
			own = append(own, r)
		}
	}
	return own
}
