// Package custom serves CustomResourceDefinitions and the resources they define: k8s.io/apiextensions-apiserver
// behind the API server, reached by every request that names none of the built-in groups.
//
// It does not run as a delegate of its own right, because its hooks poll ten times a second and readiness
// would wait for them. Start fills its informer first and runs the hooks once they find nothing to wait for.
package custom

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	listers "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
)

// Config is what custom resources share with the server in front of them.
type Config struct {
	Generic  genericapiserver.Config                       // the server's own choices, not yet completed
	Storage  func(runtime.Codec) generic.RESTOptionsGetter // how objects are stored that a codec writes
	Namer    *openapinamer.DefinitionNamer                 // names the models of apiextensions.k8s.io in OpenAPI
	Webhooks webhook.ServiceResolver                       // finds the Services that convert between versions
}

// Server serves definitions and what they define.
type Server struct {
	api    *extensions.CustomResourceDefinitions
	listed cache.ResourceEventHandlerRegistration // what keeps the list of groups, see ListGroups
	synced chan struct{}                          // closed when every definition there was at the start is served
}

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
	g.RESTOptionsGetter = cfg.Storage(extensions.Codecs.LegacyCodec(apiextensionsv1.SchemeGroupVersion))
	c := extensions.Config{
		GenericConfig: &genericapiserver.RecommendedConfig{Config: g},
		ExtraConfig: extensions.ExtraConfig{
			CRDRESTOptionsGetter: cfg.Storage(unstructured.UnstructuredJSONScheme),
			MasterCount:          1,
			ServiceResolver:      cfg.Webhooks,
			AuthResolverWrapper:  webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, g.LoopbackClientConfig, noop.NewTracerProvider()),
		},
	}
	api, err := c.Complete().New(genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("custom resources: %w", err)
	}
	// Only installing the group needed the definitions of its models.
	g.OpenAPIV3Config.Definitions = nil
	return &Server{api: api, synced: make(chan struct{})}, nil
}

// Start serves the definitions there are and follows their changes until ctx ends. It returns when the
// definitions of the start are served, or ctx has ended.
func (s *Server) Start(ctx context.Context) {
	s.api.Informers.Start(ctx.Done())
	select {
	case <-s.informer().HasSyncedChecker().Done():
	case <-ctx.Done():
		return
	}
	s.api.GenericAPIServer.RunPostStartHooks(ctx)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !s.hooksDone() || !s.listed.HasSynced() {
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
func (s *Server) Destroy() { s.api.GenericAPIServer.Destroy() }

// Definitions is what the server knows of CustomResourceDefinitions.
func (s *Server) Definitions() listers.CustomResourceDefinitionLister {
	return s.api.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()
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
