package admission

import (
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/compatibility"
	"k8s.io/kubernetes/pkg/kubeapiserver/admission/exclusion"
	quota "k8s.io/kubernetes/pkg/quota/v1/install"
)

// Server is what plugins know of the server whose writes they decide about.
type Server struct {
	// Own are the plugins that this server has its own of, by name.
	Own map[string]admission.Interface

	Config     *restclient.Config // calls the server in its process
	Client     kubernetes.Interface
	Informers  informers.SharedInformerFactory // start with the server
	Authorizer authorizer.Authorizer
	Version    compatibility.EffectiveVersion
	Done       <-chan struct{} // closed when no request is left

	Namespaces rest.Getter
	Pods       rest.Lister
	Serves     func(schema.GroupResource) bool

	// Empty says whether there is no object of a kind, and Created has a function called whenever one has been made.
	Empty   func(context.Context, schema.GroupResource) (bool, error)
	Created func(told func(schema.GroupResource))

	// Services finds who answers for a Service, and Outgoing says how that, or a URL, is called: webhooks.
	Services webhook.ServiceResolver
	Outgoing webhook.AuthenticationInfoResolverWrapper

	// File is an AdmissionConfiguration, with which upstream's plugins may be configured; "": there is none.
	File string
}

// New builds the chain. Nothing is watched before the informers start.
func (s Server) New() (admission.Interface, error) {
	rows := s.rows()
	var names []string
	for _, row := range rows {
		names = append(names, row.name)
	}
	configs, err := admission.ReadAdmissionConfiguration(names, s.File, configurations())
	if err != nil {
		return nil, fmt.Errorf("admission configuration %s: %w", s.File, err)
	}
	initialize, err := s.initializers()
	if err != nil {
		return nil, err
	}
	upstream, chain, gate := &admission.Plugins{}, &admission.Plugins{}, &gate{}
	for _, row := range rows {
		config, err := configs.ConfigFor(row.name)
		if err != nil {
			return nil, fmt.Errorf("admission configuration %s: plugin %s: %w", s.File, row.name, err)
		}
		configured := ""
		if config != nil {
			configured = ", as configured by " + s.File
		}
		plugin, err := s.build(row, upstream, config, initialize, gate)
		if err != nil {
			return nil, fmt.Errorf("admission plugin %s%s: %w", row.name, configured, err)
		}
		chain.Register(row.name, func(io.Reader) (admission.Interface, error) { return plugin, nil })
	}
	if gate.chain, err = chain.NewFromPlugins(names, configs, admission.PluginInitializers{}, nil); err != nil {
		return nil, err
	}
	return gate, nil
}

// rows are those of the table whose kinds there are.
func (s Server) rows() []plugin {
	var rows []plugin
	for _, row := range table() {
		if row.needs.Resource == "" || s.Serves(row.needs) {
			rows = append(rows, row)
		}
	}
	return rows
}

// build makes the plugin of a row.
func (s Server) build(row plugin, upstream *admission.Plugins, config io.Reader, initialize admission.PluginInitializer, gate *gate) (admission.Interface, error) {
	if row.name == podSecurity {
		return newPodSecurity(s, config)
	}
	if row.register == nil {
		own, ok := s.Own[row.name]
		if !ok {
			return nil, errors.New("the server is to have its own and has none")
		}
		return row.seen(own), nil
	}
	row.register(upstream)
	build := func() (admission.Interface, error) { return upstream.InitPlugin(row.name, config, initialize) }
	if needed := s.needed(row); needed != nil {
		return row.seen(&asleep{needed: needed, wake: func() (admission.Interface, error) {
			p, err := build()
			s.Informers.Start(s.Done)
			if row.by != nil && err == nil {
				err = filled(row.by(s.Informers))
			}
			return p, err
		}}), nil
	}
	if row.by != nil {
		gate.awaits(row.by(s.Informers))
	}
	p, err := build()
	if err != nil {
		return nil, err
	}
	return row.seen(p), nil
}

// needed says when the plugin of a row that is asleep has to be made; nil: it is not asleep.
func (s Server) needed(row plugin) func(context.Context, admission.Attributes) (bool, error) {
	switch {
	case row.asleep.Resource != "":
		return newFirst(s, row.asleep).needed
	case row.when != nil:
		return func(_ context.Context, a admission.Attributes) (bool, error) { return row.when(a), nil }
	}
	return nil
}

// filled waits for what a plugin decides by that has just been woken.
func filled(informer cache.SharedIndexInformer) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !cache.WaitFor(ctx, "", informer.HasSyncedChecker()) {
		return errors.New("what admission decides by is not read yet, try again")
	}
	return nil
}

// seen is a plugin that sees objects as it needs them.
func (row plugin) seen(p admission.Interface) admission.Interface {
	if row.internal == nil {
		return p
	}
	return internal{p, row.internal}
}

// configurations are the kinds of an admission configuration's file.
func configurations() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(apiserver.AddToScheme(s))
	utilruntime.Must(apiserverv1.AddToScheme(s))
	return s
}

// initializers give upstream's plugins what they want.
func (s Server) initializers() (admission.PluginInitializer, error) {
	objects, err := dynamic.NewForConfig(s.Config)
	if err != nil {
		return nil, fmt.Errorf("admission: client: %w", err)
	}
	quotas, err := quota.NewQuotaConfigurationForAdmission(s.Informers, served{s.Serves})
	if err != nil {
		return nil, fmt.Errorf("admission: quotas: %w", err)
	}
	kinds := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.Client.Discovery()))
	return admission.PluginInitializers{
		initializer.New(s.Client, objects, s.Informers, s.Authorizer, utilfeature.DefaultFeatureGate, s.Version, s.Done, kinds),
		webhookinit.NewPluginInitializer(s.Outgoing, s.Services),
		initializerFunc(func(p admission.Interface) {
			if wants, ok := p.(initializer.WantsQuotaConfiguration); ok {
				wants.SetQuotaConfiguration(quotas)
			}
			if wants, ok := p.(initializer.WantsExcludedAdmissionResources); ok {
				wants.SetExcludedAdmissionResources(exclusion.Excluded())
			}
		}),
	}, nil
}

type initializerFunc func(admission.Interface)

// Initialize is part of admission.PluginInitializer.
func (f initializerFunc) Initialize(p admission.Interface) { f(p) }

// served says which resources there are, for the quotas: claims of devices need caches of their own.
type served struct {
	serves func(schema.GroupResource) bool
}

// ResourceEnabled is part of storage.APIResourceConfigSource.
func (s served) ResourceEnabled(r schema.GroupVersionResource) bool {
	return r.Resource != "resourceclaims" && s.serves(r.GroupResource())
}

// VersionExplicitlyEnabled is part of storage.APIResourceConfigSource.
func (s served) VersionExplicitlyEnabled(schema.GroupVersion) bool { return true }

// ResourceExplicitlyEnabled is part of storage.APIResourceConfigSource.
func (s served) ResourceExplicitlyEnabled(r schema.GroupVersionResource) bool {
	return s.ResourceEnabled(r)
}

// AnyResourceForGroupEnabled is part of storage.APIResourceConfigSource.
func (s served) AnyResourceForGroupEnabled(string) bool { return true }
