package cluster

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	announced "fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/network/announce"
	"fairlead.dev/fairlead/network/announce/bgp"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/guard"
	"fairlead.dev/fairlead/network/health"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/route"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/secrets"
	"fairlead.dev/fairlead/node"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/node/volume"
	"fairlead.dev/fairlead/pki"
	"k8s.io/client-go/tools/record"
)

// nodeSpec is what one node is.
type nodeSpec struct {
	config.Settings              // of its cluster; NodeName is its name
	addrs           []netip.Addr // of the cluster's families, the primary first
	dir             string       // its containers, pods and logs
	serving         *pki.Source
	clientCAs       *x509.CertPool                                                       // who may call the agent
	server          string                                                               // the API server, https://ADDR:PORT
	host            []netip.Addr                                                         // of a lab: the host, which serves the API and is otherwise out of reach
	sysctls         func() error                                                         // sets what of the kernel's settings is not as it has to be
	record          func(kind, path string) error                                        // notes what is changed on the host
	bound           time.Duration                                                        // of each stage of its start; 0: the server may come later
	world           *world.World                                                         // what this process's control plane fills; nil: its own watches do
	firstPolicy     func(context.Context, func()) error                                  // tells of the first NetworkPolicy of this process's API server; nil: it is elsewhere
	written         func() world.Revisions                                               // the writes of this process's API server; nil: it is elsewhere
	dial            func(ctx context.Context, network, address string) (net.Conn, error) // to upstream DNS; nil: directly
	engine          *engine                                                              // that serves already; nil: there is none yet
}

// startNode brings up everything one node needs: containers, routes, Service rules, DNS and the agent. It acts
// on the network namespace it runs in.
func startNode(ctx context.Context, g *errgroup.Group, n nodeSpec, cfg *rest.Config, log *slog.Logger, st *stages) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	runtime := &cri.Runtime{Dir: filepath.Join(n.dir, "containerd"), CgroupRoot: nodeCgroup(n.Name, n.NodeName), Record: n.record}
	reaches := n.registries(runtime, log)
	reaches.first()
	if err := within(ctx, "containerd", n.bound, func(ctx context.Context) error { return startRuntime(ctx, runtime) }); err != nil {
		return err
	}
	st.done("containerd")
	w, metrics := n.world, newMetrics()
	if w == nil {
		w = world.New()
		g.Go(named("world", ctx, func(ctx context.Context) error { return w.Run(ctx, client) }))
	}
	w.Beyond(n.Services, func() { _ = w.Follow(ctx, client, world.ServiceCIDRs) }) // it ends with ctx, and without an error
	servers, err := reachAPI(ctx, n.server)
	if err != nil {
		return err
	}
	routes := route.New(n.routes(), w, log.With("part", "route"))
	if err := routes.Setup(); err != nil {
		return err
	}
	proxy := nft.New(n.rules(servers, metrics), w, log.With("part", "nft"))
	answers := newHealth(n.answers(newRecorder(ctx, client, n.NodeName)), metrics, proxy, w, log)
	served, gateways, serve := n.startEngine(ctx, g, w, cfg, client, metrics, log)
	pages := map[string]http.Handler{"/metrics": metricsPage(metrics), health.ReportPath: reportPage(n.NodeName, proxy, w)}
	policies := guard.New(guard.Config{NodeName: n.NodeName, First: n.firstPolicy, Metrics: metrics}, following(client), log.With("part", "policies"))
	runs := n.agent(w, policies, followed(client, log), metrics, pages)
	runs.Registries = reaches.current
	agent := node.New(runs, runtime, client, log.With("part", "node"))
	resolve := n.names(metrics)
	if n.Autopath {
		resolve.Searches = agent.Searches
	}
	names := dns.New(resolve, w, log.With("part", "dns"))
	routers := bgp.New(n.routers(client), w, log.With("part", "bgp"))
	pages[announced.RoutersPath] = routers
	pages[announced.GatewaysPath] = gateways
	maps.Copy(pages, debugPages(w, proxy, names, served)) // the agent serves them once it runs
	tells := announce.New([]string{route.LinkName}, log.With("part", "announce"))
	pages["POST "+announced.Path] = tells
	runAgent, first := outlives(agent.Run, tells.Run) // the control plane is told when addresses are handed over
	// What comes to an address that is announced here is served until nobody sends it here any more.
	runEngine, first := outlives(serve, first[0], routers.Run)
	for name, run := range map[string]func(context.Context) error{
		"route": routes.Run, "nft": proxy.Run, "dns": names.Run, "node": runAgent, "health": answers.Run, "l7": runEngine, "announce": first[0], "bgp": first[1], "policies": policies.Run,
	} {
		g.Go(named(name, ctx, run))
	}
	return n.awaitReady(ctx, w, names, agent, st)
}

// outlives has one part end when others have, instead of with the context. It returns what runs it, and the others.
func outlives(part func(context.Context) error, others ...func(context.Context) error) (outliving func(context.Context) error, first []func(context.Context) error) {
	var running sync.WaitGroup
	for _, other := range others {
		running.Add(1)
		first = append(first, func(ctx context.Context) error {
			defer running.Done()
			return other(ctx)
		})
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		go func() {
			running.Wait()
			cancel()
		}()
		return part(ctx)
	}, first
}

// awaitReady waits until the node answers names and is ready for pods.
func (n nodeSpec) awaitReady(ctx context.Context, w *world.World, names *dns.Server, agent *node.Agent, st *stages) error {
	if err := await(ctx, "name server", names.Ready(), n.bound, func() string { return unsynced(w) }); err != nil {
		return err
	}
	st.done("network: routes, rules, DNS")
	if err := await(ctx, "node "+n.NodeName, agent.Ready(), n.bound, agent.Waiting); err != nil {
		return err
	}
	st.done("node " + n.NodeName + " ready")
	return nil
}

// routes is what the routes have to know.
func (n nodeSpec) routes() route.Config {
	cfg := route.Config{NodeName: n.NodeName, NodeIPs: n.addrs, PodCIDRs: n.Pods, ServiceCIDRs: n.Services, PoolCIDRs: n.Pool.Routed, ClusterDNS: n.DNS, Confined: len(n.host) > 0, Sysctls: n.sysctls}
	for _, at := range engineAt(n.addrs) {
		cfg.Engine = append(cfg.Engine, at.Addr())
	}
	return cfg
}

// rules is what the rules of Services have to know.
func (n nodeSpec) rules(servers []netip.AddrPort, metrics prometheus.Registerer) nft.Config {
	return nft.Config{NodeName: n.NodeName, NodeIPs: n.addrs, ClusterCIDRs: n.Pods, ServiceCIDRs: n.Services, ClusterDNS: n.DNS,
		APIServers: servers, Host: n.host, CountUpTo: countUpTo, Metrics: metrics, Engine: engineAt(n.addrs)}
}

// routers is what sessions with routers need to know.
func (n nodeSpec) routers(client kubernetes.Interface) bgp.Config {
	return bgp.Config{NodeName: n.NodeName, Engine: engineAt(n.addrs), Password: func(ctx context.Context, secret string) (string, error) {
		s, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, secret, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if len(s.Data[bgp.PasswordKey]) == 0 {
			return "", fmt.Errorf("secret %s/%s has no key %q", s.Namespace, s.Name, bgp.PasswordKey)
		}
		return string(s.Data[bgp.PasswordKey]), nil
	}}
}

// answers is what load balancers are told, and where.
func (n nodeSpec) answers(events record.EventRecorder) health.Config {
	return health.Config{NodeName: n.NodeName, NodeIPs: n.addrs, Engine: true, Listen: healthzAt(n.addrs), Events: events,
		Pages: map[netip.AddrPort]http.Handler{netip.AddrPortFrom(loopback(n.addrs[0]), proxyModePort): proxyPages(nil)}}
}

// agent is what runs pods.
func (n nodeSpec) agent(w *world.World, policies *guard.Guard, follows volume.Followed, metrics prometheus.Registerer, pages map[string]http.Handler) node.Config {
	return node.Config{
		Name: n.NodeName, IPs: n.addrs, Dir: n.dir, Listen: netip.AddrPortFrom(n.addrs[0], uint16(n.AgentPort)),
		ClusterDNS: n.DNS, Domain: n.Domain, CgroupRoot: nodeCgroup(n.Name, n.NodeName), Cert: n.serving, ClientCAs: n.clientCAs,
		ClusterRanges: slices.Concat(n.Pods, n.Services), Metrics: metrics, Handlers: pages, Routed: routed(w), Admit: policies.Admit, Release: policies.Release, Followed: follows,
	}
}

// following fills Worlds by a client's watches.
func following(client kubernetes.Interface) guard.Follow {
	return func(ctx context.Context, w *world.World, wanted ...world.Kind) error {
		return w.Follow(ctx, client, wanted...)
	}
}

// followed is what has the files of pods' volumes follow the objects that they are made from.
func followed(client kubernetes.Interface, log *slog.Logger) volume.Followed {
	log = log.With("part", "volumes")
	return volume.Followed{ConfigMaps: secrets.NewConfigMaps(client, log), Secrets: secrets.New(client, log)}
}

// names is what the name server has to know.
func (n nodeSpec) names(metrics prometheus.Registerer) dns.Config {
	return dns.Config{
		Addrs: onPort(53, n.DNS...), NodeName: n.NodeName, Domain: n.Domain, Clients: n.Pods,
		Stubs: n.Stubs, ResolvConf: "/etc/resolv.conf", Metrics: metrics, Acknowledged: n.written, Dial: n.dial,
	}
}

// startRuntime brings up a node's containers.
func startRuntime(ctx context.Context, runtime *cri.Runtime) error {
	if err := runtime.Start(ctx); err != nil {
		return err
	}
	pause, err := image.Pause()
	if err != nil {
		return err
	}
	return runtime.Ensure(ctx, pause)
}

// unsynced says what a name server waits for.
func unsynced(w *world.World) string {
	select {
	case <-w.Synced():
		return "the addresses of the cluster DNS cannot be listened on yet"
	default:
		return "the API server has not sent the first lists of Services, endpoints, namespaces and nodes"
	}
}
