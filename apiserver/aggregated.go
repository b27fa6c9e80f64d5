package apiserver

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	clientset "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"k8s.io/kubernetes/pkg/controlplane/controller/clusterauthenticationtrust"

	"fairlead.dev/fairlead/apiserver/aggregation"
	"fairlead.dev/fairlead/apiserver/custom"
	"fairlead.dev/fairlead/apiserver/nodelink"
	"fairlead.dev/fairlead/pki"
)

// frontProxy is the name that this server has towards servers behind APIServices. They believe it who a request is from; so an
// authority signs it that signs nothing else.
const frontProxy = "front-proxy-client"

// aggregate is how groups of others are answered.
type aggregate struct {
	others *aggregation.Server
	trust  *clusterauthenticationtrust.Controller
}

// newAggregate has c ask it before the groups of this server. What is in c later is before it: who asks is known, and may.
func newAggregate(c *genericapiserver.Config) *aggregate {
	a := &aggregate{others: aggregation.New()}
	build := c.BuildHandlerChainFunc
	c.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		return build(a.others.Handler(api), c)
	}
	return a
}

// configure has a answer before the groups of api are installed, whose list it keeps.
func (a *aggregate) configure(cfg Config, id *identity, own *self, api *genericapiserver.GenericAPIServer, groups []*genericapiserver.APIGroupInfo, to nodelink.Resolver, log *slog.Logger) error {
	authority, err := pki.LoadOrCreate(filepath.Join(cfg.DataDir, "pki", "front-proxy"))
	if err != nil {
		return fmt.Errorf("front proxy: %w", err)
	}
	shown, err := authority.Source(pki.Request{CommonName: frontProxy, Client: true})
	if err != nil {
		return fmt.Errorf("front proxy: certificate: %w", err)
	}
	client, err := clientset.NewForConfig(own.config)
	if err != nil {
		return fmt.Errorf("aggregation: loopback client: %w", err)
	}
	builtIn := []schema.GroupVersion{{Group: "apiextensions.k8s.io", Version: "v1"}}
	for _, g := range groups {
		builtIn = append(builtIn, g.PrioritizedVersions...)
	}
	a.others.Configure(aggregation.Config{
		Client: client, Resolve: to.ResolveEndpoint, Dial: to.Dial, Identity: shown.PEM, Documents: api.AggregatedDiscoveryGroupManager, Log: log,
	}, api.DiscoveryGroupManager, builtIn)
	api.DiscoveryGroupManager = a.others.Groups(api.DiscoveryGroupManager)
	return a.publish(id, own, authority)
}

// publish is what servers behind APIServices learn by whom to know users, and this server, as upstream says it.
func (a *aggregate) publish(id *identity, own *self, authority *pki.Authority) error {
	signs, err := dynamiccertificates.NewStaticCAContent("front-proxy", authority.CertPEM())
	if err != nil {
		return fmt.Errorf("front proxy: %w", err)
	}
	a.trust = clusterauthenticationtrust.NewClusterAuthenticationTrustController(clusterauthenticationtrust.ClusterAuthenticationInfo{
		ClientCA: id.clients, RequestHeaderCA: signs,
		RequestHeaderUsernameHeaders:     headerrequest.StaticStringSlice{"X-Remote-User"},
		RequestHeaderUIDHeaders:          headerrequest.StaticStringSlice{"X-Remote-Uid"},
		RequestHeaderGroupHeaders:        headerrequest.StaticStringSlice{"X-Remote-Group"},
		RequestHeaderExtraHeaderPrefixes: headerrequest.StaticStringSlice{"X-Remote-Extra-"},
		RequestHeaderAllowedNames:        headerrequest.StaticStringSlice{frontProxy},
	}, own.client)
	return nil
}

// addHook begins when api serves and the groups of definitions are known.
func (a *aggregate) addHook(api *genericapiserver.GenericAPIServer, customs *custom.Server) {
	api.AddPostStartHookOrDie("fairlead-aggregation", func(hook genericapiserver.PostStartHookContext) error {
		go a.trust.Run(hook, 1)
		go func() {
			select {
			case <-hook.Done():
			case <-customs.Synced():
				a.others.Run(hook)
			}
		}()
		return nil
	})
}
