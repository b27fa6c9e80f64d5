// Package aggregation has groups of the API answered by other servers behind Services, as APIServices say, and keeps an APIService
// for every group that this server answers for itself.
package aggregation

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/client-go/tools/cache"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	kubeaggregator "k8s.io/kube-aggregator/pkg/apiserver"
	clientset "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"k8s.io/kube-aggregator/pkg/client/informers/externalversions"
	listers "k8s.io/kube-aggregator/pkg/client/listers/apiregistration/v1"
)

// Config is what the server needs of the one in front.
type Config struct {
	Client    clientset.Interface
	Resolve   func(namespace, name string, port int32) (*url.URL, error)           // to an endpoint of a Service
	Dial      func(ctx context.Context, network, address string) (net.Conn, error) // to it
	Identity  func() (certPEM, keyPEM []byte)                                      // what this server shows there
	Documents aggregated.ResourceManager                                           // aggregated discovery
	Log       *slog.Logger
}

// Server answers for groups of others.
type Server struct {
	config Config
	groups discovery.GroupManager // the list of groups; set by Groups
	list   listers.APIServiceLister
	synced cache.InformerSynced
	start  func(<-chan struct{})
	kick   chan struct{}

	remote atomic.Pointer[map[schema.GroupVersion]*backend] // who answers for what

	mu      sync.Mutex
	builtIn []schema.GroupVersion
	custom  map[string][]schema.GroupVersion // of definitions, by group
	listed  map[string]bool                  // groups of others in the list

	discovered kubeaggregator.DiscoveryAggregationController // nil: there has been no group of others
}

// every is how often it is asked whether the others answer.
const every = 30 * time.Second

// New is a server that answers for nothing yet.
func New() *Server {
	s := &Server{kick: make(chan struct{}, 1), custom: map[string][]schema.GroupVersion{}, listed: map[string]bool{}}
	s.remote.Store(&map[schema.GroupVersion]*backend{})
	return s
}

// Configure says what the server needs, and which groups are built in. Call it before Run.
func (s *Server) Configure(c Config, groups discovery.GroupManager, builtIn []schema.GroupVersion) {
	s.config, s.groups, s.builtIn = c, groups, builtIn
	informers := externalversions.NewSharedInformerFactory(c.Client, 0)
	services := informers.Apiregistration().V1().APIServices()
	services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { s.changed() }, UpdateFunc: func(any, any) { s.changed() }, DeleteFunc: func(any) { s.changed() },
	})
	s.list, s.synced, s.start = services.Lister(), services.Informer().HasSynced, informers.Start
}

// changed has the server look again.
func (s *Server) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run keeps what is answered, and the APIServices of the groups of this server, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	s.start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), s.synced) {
		return
	}
	for ctx.Err() == nil {
		all, err := s.list.List(labels.Everything())
		if err == nil {
			s.follow(ctx, all)
			err = s.register(ctx, all)
		}
		again := make(<-chan time.Time)
		if err != nil && ctx.Err() == nil {
			s.config.Log.Warn("APIServices of this server's groups are not all written", "err", err)
			again = time.After(time.Second)
		} else if len(*s.remote.Load()) > 0 {
			again = time.After(every)
		}
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-again:
		}
	}
}

// follow sends requests where the APIServices say, and lists their groups.
func (s *Server) follow(ctx context.Context, all []*apiregistrationv1.APIService) {
	was := *s.remote.Load()
	now := map[schema.GroupVersion]*backend{}
	versions := map[string][]metav1.GroupVersionForDiscovery{}
	for _, service := range ordered(all) {
		gv := schema.GroupVersion{Group: service.Spec.Group, Version: service.Spec.Version}
		if service.Spec.Service == nil || s.ours(gv) {
			continue
		}
		b := s.backend(service, was[gv])
		now[gv] = b
		versions[gv.Group] = append(versions[gv.Group], metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version})
	}
	s.remote.Store(&now)
	s.judge(ctx, now)
	s.discover(ctx, was, now)
	for group, served := range versions {
		s.groups.AddGroup(metav1.APIGroup{Name: group, Versions: served, PreferredVersion: served[0]})
		s.listed[group] = true
	}
	for group := range s.listed {
		if versions[group] != nil {
			continue
		}
		delete(s.listed, group)
		if own := s.yielded(group); own != nil {
			s.groups.AddGroup(*own)
		} else {
			s.groups.RemoveGroup(group)
		}
	}
}

// ordered is the order of versions in which clients are to choose.
func ordered(all []*apiregistrationv1.APIService) []*apiregistrationv1.APIService {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *apiregistrationv1.APIService) int {
		if d := b.Spec.VersionPriority - a.Spec.VersionPriority; d != 0 {
			return int(d)
		}
		return int(a.CreationTimestamp.Sub(b.CreationTimestamp.Time))
	})
	return all
}

// discover keeps aggregated discovery: upstream's controller asks the others what they serve.
func (s *Server) discover(ctx context.Context, was, now map[schema.GroupVersion]*backend) {
	if s.discovered == nil {
		if len(now) == 0 {
			return
		}
		s.discovered = kubeaggregator.NewDiscoveryManager(s.config.Documents.WithSource(aggregated.AggregatorSource))
		go s.discovered.Run(ctx.Done(), make(chan struct{}))
	}
	for gv, b := range now {
		if was[gv] == nil || was[gv].service.ResourceVersion != b.service.ResourceVersion {
			s.discovered.AddAPIService(b.service, http.HandlerFunc(b.discovery))
		}
	}
	for gv, b := range was {
		if now[gv] == nil {
			s.discovered.RemoveAPIService(b.service.Name)
		}
	}
}
