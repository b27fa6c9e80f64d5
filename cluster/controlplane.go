package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external"
	"fairlead.dev/fairlead/controller/garbage"
	"fairlead.dev/fairlead/controller/nodes"
	"fairlead.dev/fairlead/controller/scheduler"
	"fairlead.dev/fairlead/controller/why"
	"fairlead.dev/fairlead/controller/workload"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/health"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/route"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/node"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// joinToken is the file that a machine joins by, in the cluster's directory. Only root can read it.
const joinToken = "join-token"

// controlPlane is a running API server with its controllers.
type controlPlane struct {
	ca     *pki.Authority
	client kubernetes.Interface
	server string // https://ADDR:PORT

	acknowledged func() world.Revisions // how far its writes have come
	// inProcess makes clients of this process call the API server directly.
	inProcess func(*rest.Config, *pki.Source) *rest.Config
}

// doors are where an API server is reached.
type doors struct {
	bind, advertise netip.Addr
	node            string // the node that this process is to be as well, if any
	listen          func(ctx context.Context, network, address string) (net.Listener, error)
}

// startControlPlane brings up the store, the API server and the controllers, and returns when they answer.
// They run in g until ctx ends.
func startControlPlane(ctx context.Context, g *errgroup.Group, inst instance.Instance, s config.Settings, at doors, log *slog.Logger, st *stages) (*controlPlane, error) {
	ca, err := authority(inst)
	if err != nil {
		return nil, err
	}
	secret, err := inst.Secret("token")
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if err := durable.WriteFile(inst.Path(joinToken), []byte(join.Token(ca, secret)+"\n"), 0o600); err != nil {
		return nil, err
	}
	port, metrics := uint16(s.Port), prometheus.NewRegistry()
	what := apiserver.Config{
		Metrics:          metrics,
		DataDir:          s.DataDir,
		EtcdServers:      s.EtcdServers,
		Bind:             netip.AddrPortFrom(at.bind, port),
		Listen:           at.listen,
		Advertise:        at.advertise,
		PodCIDRs:         s.Pods,
		ServiceCIDRs:     s.Services,
		ClusterDNS:       s.DNS,
		Domain:           s.Domain,
		NodePorts:        alloc.PortRange{First: s.FirstPort, Last: s.LastPort},
		AllowExternalIPs: config.Yes(s.AllowExternalIPs),
		Node:             at.node,
		CA:               ca,
	}
	joins := join.NewHandler(join.Config{CA: ca, Secret: secret, Cluster: cluster(s), Claims: what.Claims(), Dir: inst.Path("joined")})
	what.Join = joins
	api, err := apiserver.New(what, log.With("part", "apiserver"))
	if err != nil {
		return nil, err
	}
	g.Go(named("apiserver", ctx, api.Run))
	if err := await(ctx, "API server", api.Ready(), apiBound, api.Waiting); err != nil {
		return nil, err
	}
	st.done("API server")
	cp := &controlPlane{ca: ca, server: "https://" + netip.AddrPortFrom(at.advertise, port).String(), acknowledged: acknowledged(api), inProcess: api.InProcess}
	if cp.client, err = startControllers(ctx, g, cp.inProcess(api.ClientConfig(), nil), ca, s, metrics, log); err != nil {
		return nil, err
	}
	joins.Open(listNodes(cp.client))
	st.done("controllers")
	admin, err := newAdminAccess(inst, s.Name, netip.AddrPortFrom(nearest(at.bind), port), ca)
	if err != nil {
		return nil, err
	}
	g.Go(named("admin", ctx, func(ctx context.Context) error { return admin.keep(ctx, log) }))
	return cp, nil
}

// authority is the cluster's own. A cluster that is there already does not get another one.
func authority(inst instance.Instance) (*pki.Authority, error) {
	files, err := os.ReadDir(inst.Path("pki"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		if err := inst.MayMake("pki"); err != nil {
			return nil, err
		}
	}
	return pki.LoadOrCreate(inst.Path("pki"))
}

// acknowledged reads how far the writes of an API server have come.
func acknowledged(api *apiserver.Server) func() world.Revisions {
	at := api.Acknowledged()
	return func() world.Revisions {
		return world.Revisions{Services: at.Services.Load(), EndpointSlices: at.EndpointSlices.Load(), Namespaces: at.Namespaces.Load()}
	}
}

// startControllers starts every controller over one set of caches. What they count is registered with metrics, and shown on the
// API server's /metrics.
func startControllers(ctx context.Context, g *errgroup.Group, cfg *rest.Config, ca *pki.Authority, s config.Settings, metrics prometheus.Registerer, log *slog.Logger) (kubernetes.Interface, error) {
	cfg.WarningHandler = rest.NoWarnings{} // that v1 Endpoints is deprecated is for people to read
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	shared := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	collector, err := garbage.New(cfg, shared, ca.CertPEM(), log.With("part", "garbage"))
	if err != nil {
		return nil, err
	}
	caller, err := ca.Source(peer.Caller())
	if err != nil {
		return nil, err
	}
	runs := map[string]func(context.Context) error{
		"workload":  workload.New(client, shared, log.With("part", "workload")).Run,
		"scheduler": scheduler.New(client, shared, metrics, log.With("part", "scheduler")).Run,
		"endpoints": endpoints.New(client, shared, metrics, log.With("part", "endpoints")).Run,
		"nodes":     nodes.New(client, shared, s.Pods, log.With("part", "nodes")).Run,
		"external":  external.New(client, shared, external.Agents(caller, ca.Pool()), log.With("part", "external")).Run,
		"garbage":   collector.Run,
		"why":       why.New(client, shared, s.Pods, s.Services, log.With("part", "why")).Run,
	}
	shared.Start(ctx.Done())
	for name, run := range runs {
		g.Go(named(name, ctx, run))
	}
	return client, nil
}

// listNodes lists the nodes of the cluster.
func listNodes(client kubernetes.Interface) func(context.Context) ([]*corev1.Node, error) {
	return func(ctx context.Context) ([]*corev1.Node, error) {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		nodes := make([]*corev1.Node, len(list.Items))
		for i := range list.Items {
			nodes[i] = &list.Items[i]
		}
		return nodes, nil
	}
}

// withoutManagedFields drops what no controller reads and what makes up much of an object's size.
func withoutManagedFields(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

func cluster(s config.Settings) join.Cluster {
	return join.Cluster{Pods: s.Pods, Services: s.Services, DNS: s.DNS, Domain: s.Domain, Stubs: s.Stubs, Autopath: config.Yes(s.DNSAutopath)}
}

// nearest is the address at which this host itself reaches what listens at bind. Its own loopback stays when all its other
// addresses change.
func nearest(bind netip.Addr) netip.Addr {
	if !bind.IsUnspecified() {
		return bind
	}
	return loopback(bind)
}

// nodeSpec is what one node is.
type nodeSpec struct {
	name      string
	addrs     []netip.Addr // of the cluster's families, the primary first
	port      int
	dir       string // its containers, pods and logs
	cgroups   string // the control group that holds its pods
	cluster   join.Cluster
	serving   *pki.Source
	clientCAs *x509.CertPool                                                       // who may call the agent
	server    string                                                               // the API server, https://ADDR:PORT
	host      []netip.Addr                                                         // of a lab: the host, which serves the API and is otherwise out of reach
	sysctls   func() error                                                         // sets what of the kernel's settings is not as it has to be
	bound     time.Duration                                                        // of each stage of its start; 0: the server may come later
	written   func() world.Revisions                                               // the writes of this process's API server; nil: it is elsewhere
	dial      func(ctx context.Context, network, address string) (net.Conn, error) // to upstream DNS; nil: directly
}

// startNode brings up everything one node needs: containers, routes, Service rules, DNS and the agent. It acts
// on the network namespace it runs in.
func startNode(ctx context.Context, g *errgroup.Group, n nodeSpec, cfg *rest.Config, record func(kind, path string) error, log *slog.Logger, st *stages) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	runtime := &cri.Runtime{Dir: filepath.Join(n.dir, "containerd"), CgroupRoot: n.cgroups, Record: record}
	if err := within(ctx, "containerd", n.bound, func(ctx context.Context) error { return startRuntime(ctx, runtime) }); err != nil {
		return err
	}
	st.done("containerd")

	w, metrics := world.New(), newMetrics()
	servers, err := reachAPI(ctx, n.server)
	if err != nil {
		return err
	}
	routes := route.New(route.Config{NodeName: n.name, NodeIPs: n.addrs, PodCIDRs: n.cluster.Pods, ServiceCIDRs: n.cluster.Services, ClusterDNS: n.cluster.DNS,
		Confined: len(n.host) > 0, Sysctls: n.sysctls}, w, log.With("part", "route"))
	if err := routes.Setup(); err != nil {
		return err
	}
	proxy := nft.New(nft.Config{NodeName: n.name, NodeIPs: n.addrs, ClusterCIDRs: n.cluster.Pods, ServiceCIDRs: n.cluster.Services, ClusterDNS: n.cluster.DNS, APIServers: servers, Host: n.host, CountUpTo: countUpTo, Metrics: metrics}, w, log.With("part", "nft"))
	answers := newHealth(nodeHealth{name: n.name, addrs: n.addrs, listen: onPort(healthzPort, append(slices.Clone(n.addrs), loopbacks(n.addrs)...)...), metrics: metrics,
		events: newRecorder(ctx, client, n.name), pages: map[netip.AddrPort]http.Handler{netip.AddrPortFrom(loopback(n.addrs[0]), proxyModePort): proxyPages(nil)}}, proxy, w, log)
	agent := node.New(node.Config{
		Name: n.name, IPs: n.addrs, Dir: n.dir, Listen: netip.AddrPortFrom(n.addrs[0], uint16(n.port)),
		ClusterDNS: n.cluster.DNS, Domain: n.cluster.Domain, CgroupRoot: n.cgroups, Cert: n.serving, ClientCAs: n.clientCAs, ClusterRanges: slices.Concat(n.cluster.Pods, n.cluster.Services),
		Metrics: metrics, Handlers: map[string]http.Handler{"/metrics": metricsPage(metrics), health.ReportPath: reportPage(n.name, proxy, w)},
	}, runtime, client, log.With("part", "node"))
	resolve := dns.Config{
		Addrs: onPort(53, n.cluster.DNS...), NodeName: n.name, Domain: n.cluster.Domain, Clients: n.cluster.Pods,
		Stubs: n.cluster.Stubs, ResolvConf: "/etc/resolv.conf", Metrics: metrics, Acknowledged: n.written, Dial: n.dial,
	}
	if n.cluster.Autopath {
		resolve.Searches = agent.Searches
	}
	names := dns.New(resolve, w, log.With("part", "dns"))
	for name, run := range map[string]func(context.Context) error{
		"world": func(ctx context.Context) error { return w.Run(ctx, client) },
		"route": routes.Run, "nft": proxy.Run, "dns": names.Run, "node": agent.Run, "health": answers.Run,
	} {
		g.Go(named(name, ctx, run))
	}
	if err := await(ctx, "name server", names.Ready(), n.bound, func() string { return unsynced(w) }); err != nil {
		return err
	}
	st.done("network: routes, rules, DNS")
	if err := await(ctx, "node "+n.name, agent.Ready(), n.bound, agent.Waiting); err != nil {
		return err
	}
	st.done("node " + n.name + " ready")
	return nil
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

// named runs a part and says which one failed. A part that returns before it was told to stop has failed.
func named(name string, ctx context.Context, run func(context.Context) error) func() error {
	return func() error {
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("stopped by itself")
		}
		return fmt.Errorf("%s: %w", name, err)
	}
}
