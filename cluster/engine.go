package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/feed"
	"fairlead.dev/fairlead/network/l7/feed/gateways"
	"fairlead.dev/fairlead/network/l7/ingress"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/world"
	objects "fairlead.dev/fairlead/network/world/gateways"
	"fairlead.dev/fairlead/network/world/secrets"
)

// What a node keeps in its directory so that it serves what it served before it has reached the API server again.
const (
	servedFile  = "l7.json"         // what the L7 engine serves, with the keys of its certificates
	networkFile = "networking.json" // what the machine was told when it joined
	accessFile  = "access.log"      // the requests that it served, if they are to be written down
)

// engine is a node's L7 engine with what feeds it. It is there before the node has a client.
type engine struct {
	*feed.Feed
	gateways *gateways.Source
	ports    *config.IngressPorts
	logs     bool // requests are written down
	addrs    []netip.Addr
	events   atomic.Pointer[func(message string)] // nil: nobody can be told yet
	closed   atomic.Pointer[string]               // why a port for Ingresses is not open
	mark     chan struct{}                        // capacity 1: closed has been set
}

// newEngine is the engine of a node. It serves at once what the node kept of an earlier life.
func (n nodeSpec) newEngine(log *slog.Logger) *engine {
	e := &engine{ports: n.Networking.Ingress, addrs: n.addrs, mark: make(chan struct{}, 1), gateways: gateways.New()}
	cfg := feed.Config{NodeName: n.NodeName, NodeIPs: n.addrs, Engine: engineAt(n.addrs), File: filepath.Join(n.dir, servedFile), Tell: e.tell, Closed: e.isClosed, Sources: []feed.Source{e.gateways.Feed()}}
	if e.ports != nil {
		cfg.Ports = ingress.Ports{HTTP: e.ports.HTTP, HTTPS: e.ports.HTTPS}
	}
	var serving l7.Config
	if e.logs = n.Networking.AccessLog; e.logs {
		serving.AccessLog = &accessLog{path: filepath.Join(n.dir, accessFile), most: mostLogged}
	}
	e.Feed = feed.New(cfg, serving, log.With("part", "l7"))
	e.Restore()
	return e
}

// startEngine prepares the node's engine to serve by what the World says, and returns what feeds it, what tells of
// its Gateways, and what runs it.
func (n nodeSpec) startEngine(ctx context.Context, g *errgroup.Group, w *world.World, cfg *rest.Config, client kubernetes.Interface, metrics prometheus.Registerer, log *slog.Logger) (*feed.Feed, http.Handler, func(context.Context) error) {
	e := n.engine
	if e == nil || !e.suits(n) {
		e.close()
		e = n.newEngine(log)
	}
	e.tellBy(kube.Recorder(ctx, client, corev1.EventSource{Component: "fairlead-l7", Host: n.NodeName}), n.NodeName)
	metrics.MustRegister(e.Engine())
	follows := feed.Follows{Secrets: secrets.New(client, log.With("part", "l7")), ConfigMaps: secrets.NewConfigMaps(client, log.With("part", "l7"))}
	g.Go(named("secrets", ctx, follows.Secrets.Run))
	g.Go(named("configmaps", ctx, follows.ConfigMaps.Run))
	g.Go(named("gateways", ctx, func(ctx context.Context) error {
		all, err := objects.New(cfg, false)
		if err != nil {
			return err
		}
		return e.gateways.Run(ctx, all, secrets.NewConfigMaps(client, log.With("part", "l7")), w)
	}))
	g.Go(named("no-ingress", ctx, func(ctx context.Context) error { return e.keepMark(ctx, client, w, n.NodeName) }))
	return e.Feed, e.gateways, func(ctx context.Context) error { return e.Run(ctx, w, follows) }
}

// close ends an engine that is not to be run; nil is none.
func (e *engine) close() {
	if e != nil {
		e.Close()
	}
}

// suits reports whether the engine is as the node is to have it.
func (e *engine) suits(n nodeSpec) bool {
	now := n.Networking.Ingress
	return slices.Equal(e.addrs, n.addrs) && e.logs == n.Networking.AccessLog && (e.ports == nil) == (now == nil) && (now == nil || *now == *e.ports)
}

// tell has an Event say that a port is taken.
func (e *engine) tell(message string) bool {
	say := e.events.Load()
	if say != nil {
		(*say)(message)
	}
	return say != nil
}

// isClosed notes why a port is not open.
func (e *engine) isClosed(why string) {
	e.closed.Store(&why)
	e.again()
}

// again has the mark looked at.
func (e *engine) again() {
	select {
	case e.mark <- struct{}{}:
	default:
	}
}

// keepMark has the Node say why Ingresses are not served there, for as long as that is so: whoever publishes the addresses of those
// that do leaves it out.
func (e *engine) keepMark(ctx context.Context, client kubernetes.Interface, w *world.World, node string) error {
	var said *string // what the Node says; nil: what the World knows of it
	for {
		select {
		case <-e.mark:
		case <-ctx.Done():
			return nil
		}
		why := e.closed.Load()
		if said == nil {
			said = new(string)
			if n := w.Node(node); n != nil {
				*said = n.Annotations[api.AnnotationNoIngress]
			}
		}
		if *said == *why {
			continue
		}
		if err := markNode(ctx, client, node, *why); err != nil {
			kube.Sleep(ctx, time.Second)
			e.again()
			continue
		}
		said = why
	}
}

// markNode writes the annotation, or takes it away.
func markNode(ctx context.Context, client kubernetes.Interface, node, why string) error {
	value := &why
	if why == "" {
		value = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]*string{api.AnnotationNoIngress: value}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// tellBy has Events on the Node from now on.
func (e *engine) tellBy(events record.EventRecorder, node string) {
	about := &corev1.ObjectReference{Kind: "Node", Name: node, UID: types.UID(node)} // as the kubelet names its own
	say := func(message string) { events.Event(about, corev1.EventTypeWarning, "PortTaken", message) }
	e.events.Store(&say)
}

// engineAt is where the engine of a node with these addresses takes connections to Services.
func engineAt(addrs []netip.Addr) []netip.AddrPort {
	var all []netip.AddrPort
	for _, at := range []netip.AddrPort{lb.EngineIPv4, lb.EngineIPv6} {
		if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is4() == at.Addr().Is4() }) {
			all = append(all, at)
		}
	}
	return all
}

// formerEngine is the engine of a node that was a member before, as it was told then; nil if it was none. It serves while the
// machine joins again, for which it may have to wait.
func formerEngine(s config.Settings, base agentBase, log *slog.Logger) *engine {
	text, err := os.ReadFile(filepath.Join(base.dir, networkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	n := nodeSpec{Settings: s, dir: base.dir}
	if err == nil {
		err = json.Unmarshal(text, &n.Networking)
	}
	if err == nil {
		n.addrs, err = nodeAddrs(base.addrs, n.Services)
	}
	if err != nil {
		log.Warn("what this node served is served when it has joined again", "part", "l7", "err", err)
		return nil
	}
	return n.newEngine(log)
}

// keepNetworking keeps what a machine was told when it joined.
func keepNetworking(dir string, told config.Networking) error {
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, networkFile), text, 0o600)
}
