package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/instance"
	"fairlead.dev/fairlead/join"
	"fairlead.dev/fairlead/lab"
	"fairlead.dev/fairlead/pki"
)

// runCluster is the life of a cluster started by `up`: this host as control plane and node, or a lab. It
// returns when ctx ends. Containers and kernel rules stay: `down` removes them, the next start adopts them.
func runCluster(ctx context.Context, inst instance.Instance, saved config.Config, pprof string, st *stages) error {
	saved.DataDir = inst.Dir
	s, err := config.Resolve(saved)
	if err != nil {
		return err
	}
	log, err := logger(s.LogLevel)
	if err != nil {
		return err
	}
	lock, err := inst.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	g, ctx := errgroup.WithContext(ctx)
	go tendHeap(ctx)
	if err := serveProfiles(ctx, g, pprof); err != nil {
		return err
	}
	start := startHost
	if s.Nodes > 0 {
		start = startLab
	}
	if err := start(ctx, g, inst, s, log, st); err != nil {
		if failed := context.Cause(ctx); failed != nil && !errors.Is(failed, context.Canceled) {
			err = failed // a part failed first; the start only noticed
		}
		return err
	}
	st.ready()
	if err := dropStartupPages(); err != nil {
		log.Warn("memory of the start is kept", "err", err)
	}
	return g.Wait()
}

// nodeSysctls are the settings that every node's network namespace needs.
var nodeSysctls = map[string]string{
	"net/ipv4/ip_forward": "1",
}

// hostAddrs are this host's addresses as a node, at most one of each family: those given, and those of the default
// routes for the families that none was given of.
func hostAddrs(given []netip.Addr) []netip.Addr {
	addrs := slices.Clone(given)
	for _, outside := range []string{"192.0.2.1", "2001:db8::1"} { // nothing is sent there
		to := netip.MustParseAddr(outside)
		if slices.ContainsFunc(given, func(a netip.Addr) bool { return a.Is4() == to.Is4() }) {
			continue
		}
		routes, _ := netlink.RouteGet(to.AsSlice()) // no route: no address
		for _, r := range routes {
			if addr, ok := netip.AddrFromSlice(r.Src); ok && !addr.Unmap().IsLoopback() && !addr.IsLinkLocalUnicast() {
				addrs = append(addrs, addr.Unmap())
				break
			}
		}
	}
	return addrs
}

// nodeAddrs picks one address for each family of the cluster, in the cluster's order, the primary first.
func nodeAddrs(have []netip.Addr, services []netip.Prefix) ([]netip.Addr, error) {
	picked := make([]netip.Addr, len(services))
	for i, r := range services {
		at := slices.IndexFunc(have, func(a netip.Addr) bool { return a.Is4() == r.Addr().Is4() })
		if at < 0 {
			family, example := "IPv4", "192.0.2.1"
			if r.Addr().Is6() {
				family, example = "IPv6", "2001:db8::1"
			}
			return nil, fmt.Errorf("the cluster uses %s (Services have %s), and this host has no default route to take its %s address from; give the address with --node-ip, such as %s", family, r, family, example)
		}
		picked[i] = have[at]
	}
	return picked, nil
}

// everywhere is the address that stands for all of the host's, of every family in use.
func everywhere(services []netip.Prefix) netip.Addr {
	if slices.ContainsFunc(services, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// nodeName is this host's name as a node.
func nodeName() (string, error) {
	name, err := os.Hostname()
	return strings.ToLower(name), err
}

func nodeDir(inst instance.Instance, name string) string { return inst.Path("nodes", name) }

func nodeCgroup(cluster, node string) string { return "/fairlead/" + cluster + "/" + node }

// issue is an identity in the form a TLS server uses.
func issue(ca *pki.Authority, r pki.Request) (tls.Certificate, error) {
	cert, key, err := ca.Issue(r)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// nodeClient is how a node's parts reach the API server.
func nodeClient(server string, caPEM, cert, key []byte) *rest.Config {
	return &rest.Config{
		Host:            server,
		TLSClientConfig: rest.TLSClientConfig{CAData: caPEM, CertData: cert, KeyData: key},
		ContentConfig:   rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"},
		UserAgent:       "fairlead-agent/" + version,
		QPS:             500, // a node's own writes are few; the limit only guards against a loop gone wild
		Burst:           1000,
	}
}

// startHost runs the control plane and makes this host the node.
func startHost(ctx context.Context, g *errgroup.Group, inst instance.Instance, s config.Settings, log *slog.Logger, st *stages) error {
	addrs, err := nodeAddrs(hostAddrs(s.Node), s.Services)
	if err != nil {
		return err
	}
	cp, err := startControlPlane(ctx, g, inst, s, everywhere(s.Services), addrs[0], log, st)
	if err != nil {
		return err
	}
	name, err := nodeName()
	if err != nil {
		return err
	}
	cert, key, err := cp.ca.Issue(join.ClientIdentity(name))
	if err != nil {
		return err
	}
	serving, err := issue(cp.ca, join.ServingIdentity(name, addrs))
	if err != nil {
		return err
	}
	journal, err := host.OpenJournal(inst.Path("journal"))
	if err != nil {
		return err
	}
	if err := setSysctls(journal.Sysctl); err != nil {
		return err
	}
	spec := nodeSpec{name: name, addrs: addrs, port: s.AgentPort, dir: nodeDir(inst, name), cgroups: nodeCgroup(s.Name, name), cluster: cluster(s), serving: serving, clientCAs: cp.ca.Pool(), labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}
	cfg := nodeClient(cp.server, cp.ca.CertPEM(), cert, key)
	if err := startNode(ctx, g, spec, cfg, journal.Record, log, st); err != nil {
		return err
	}
	if err := waitNodes(ctx, cp.client, 1); err != nil {
		return err
	}
	st.done("node " + name + " ready")
	return nil
}

func setSysctls(set func(key, value string) error) error {
	for key, value := range nodeSysctls {
		if err := set(key, value); err != nil {
			return fmt.Errorf("sysctl %s: %w", key, err)
		}
	}
	return nil
}

// startLab builds the lab's network, runs the control plane on the host's end of it, and one agent process
// in each node's namespace, which is started again should it end.
func startLab(ctx context.Context, g *errgroup.Group, inst instance.Instance, s config.Settings, log *slog.Logger, st *stages) error {
	l, err := labOf(inst, s.Name)
	if err != nil {
		return err
	}
	if err := l.Create(s.Nodes); err != nil {
		return err
	}
	st.done(fmt.Sprintf("lab of %d nodes on %s", s.Nodes, l.Subnet))
	cp, err := startControlPlane(ctx, g, inst, s, l.Host(), l.Host(), log, st)
	if err != nil {
		return err
	}
	complete := make(chan struct{})
	for _, n := range l.Nodes(s.Nodes) {
		agent := func(ctx context.Context) error { return runLabAgent(ctx, inst, s, cp, n) }
		g.Go(named(n.Name, ctx, func(ctx context.Context) error {
			return keepLabAgent(ctx, complete, log.With("part", "lab", "node", n.Name), agent)
		}))
	}
	if err := waitNodes(ctx, cp.client, s.Nodes); err != nil {
		return err
	}
	close(complete)
	st.done(fmt.Sprintf("%d nodes ready", s.Nodes))
	return nil
}

// labOf is the lab of an instance. Its subnet is chosen once and kept.
func labOf(inst instance.Instance, name string) (lab.Lab, error) {
	l := lab.Lab{Name: name, Dir: inst.Path("netns")}
	text, err := os.ReadFile(inst.Path("lab.json"))
	if err == nil {
		return l, json.Unmarshal(text, &l.Subnet)
	}
	if l.Subnet, err = lab.FreeSubnet(); err != nil {
		return l, err
	}
	text, err = json.Marshal(l.Subnet)
	if err != nil {
		return l, err
	}
	return l, os.WriteFile(inst.Path("lab.json"), text, 0o600)
}

func readyNodes(list *corev1.NodeList) int {
	n := 0
	for _, node := range list.Items {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}
