package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	apilocal "fairlead.dev/fairlead/api/localvolume"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/localvolume"
	"fairlead.dev/fairlead/node/metrics"
	"fairlead.dev/fairlead/node/nodestatus"
	"fairlead.dev/fairlead/node/projection"
	"fairlead.dev/fairlead/node/pulls"
	"fairlead.dev/fairlead/node/registry"
	"fairlead.dev/fairlead/node/server"
	"fairlead.dev/fairlead/node/spec"
	"fairlead.dev/fairlead/node/usage"
	"fairlead.dev/fairlead/node/volume"
	"fairlead.dev/fairlead/pki"
)

// Config says which node this is and how it serves.
type Config struct {
	Name       string
	IPs        []netip.Addr   // of the node, one of each family of the cluster, the primary first
	Dir        string         // pods, their volumes and logs live in Dir/pods
	Listen     netip.AddrPort // of the agent's HTTPS API
	ClusterDNS []netip.Addr
	Domain     string
	CgroupRoot string         // /fairlead/NAME, as the Runtime's
	Cert       *pki.Source    // serving
	ClientCAs  *x509.CertPool // who may call the agent
	// ClusterRanges are those of all pods and Services; of these the agent connects nobody but to its own pods.
	ClusterRanges []netip.Prefix
	// Metrics is where what the agent does is counted, under kubelet's names; nil: nowhere.
	Metrics prometheus.Registerer
	// Handlers are what the agent's API serves for others of its process, by path, as server.Config has them: /metrics, for one.
	Handlers map[string]http.Handler
	// Routed returns what tells whether new connections are still sent to a pod, as far as this node knows; nil: none are.
	Routed func(*corev1.Pod) (still func() bool)
	// Admit returns when a pod's containers may be started, whose sandbox has these addresses, and Release is told when nothing of a pod
	// runs any more: network policies are in force from the first packet to the last. nil: there is nothing to wait for.
	Admit   func(ctx context.Context, pod *corev1.Pod, addrs []netip.Addr) error
	Release func(pod types.UID)
	// Followed has the files of volumes that are made from ConfigMaps and Secrets follow these.
	Followed volume.Followed
	// ResolvConf is the node's own resolv.conf; empty means /etc/resolv.conf.
	ResolvConf string
	// Registries says how registries of images are reached, asked before every pull, and has had the runtime told; nil: as everybody does.
	Registries func(context.Context) registry.Registries
}

// Agent runs one node.
type Agent struct {
	cfg        Config
	containerd *cri.Runtime
	client     kubernetes.Interface
	log        *slog.Logger
	runtime    *kuberuntime.Client
	events     record.EventRecorder
	metrics    *metrics.Metrics
	// Bounds on what is being started at once. Containers have slots of their own, so that pods whose sandbox runs are not held
	// up by the sandboxes of later ones.
	sandboxSlots, containerSlots slots

	mu        sync.Mutex
	pods      map[types.UID]*worker
	owners    map[string]types.UID // containers and sandboxes, by id
	unclaimed map[string]time.Time // containers whose end was announced before they were known
	running   sync.WaitGroup       // goroutines of pods

	searches   searches
	hadNetwork atomic.Bool // a pod with a network of its own has started

	admitted   grants
	nodeStatus *nodestatus.Reporter
	volumes    *volume.Manager
	pulls      *pulls.Records
	local      *localvolume.Volumes
}

// New makes an agent; nothing runs yet. The runtime has to be started before Run.
func New(cfg Config, rt *cri.Runtime, client kubernetes.Interface, log *slog.Logger) *Agent {
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	a := &Agent{
		cfg:            cfg,
		containerd:     rt,
		client:         client,
		log:            log,
		metrics:        metrics.New(cfg.Name),
		sandboxSlots:   make(slots, max(2, runtime.NumCPU())),
		containerSlots: make(slots, max(2, runtime.NumCPU())),
		pods:           map[types.UID]*worker{},
		owners:         map[string]types.UID{},
		unclaimed:      map[string]time.Time{},
		admitted:       grants{pods: map[types.UID]*corev1.Pod{}, byPod: map[types.UID]life.Resources{}},
		searches:       searches{byAddr: map[netip.Addr]searchList{}},
		nodeStatus:     nodestatus.New(nodestatus.Config{Name: cfg.Name, IPs: cfg.IPs, Dir: cfg.Dir, Port: cfg.Listen.Port()}, rt, client, log),
	}
	a.pulls = &pulls.Records{Dir: filepath.Join(cfg.Dir, "pulls")}
	a.volumes = &volume.Manager{Dir: a.podsDir(), Client: client, Runtime: rt, Node: a.node, Followed: cfg.Followed, Sources: projection.New(client, cfg.Name)}
	a.local = &localvolume.Volumes{Dir: LocalVolumes(cfg.Dir), InUse: a.volumes.InUse, Log: log}
	return a
}

// Run registers the node and serves it until the context is done. Pods keep running after that; a later Run takes them over.
func (a *Agent) Run(ctx context.Context) error {
	conn, err := a.containerd.Conn()
	if err != nil {
		return err
	}
	a.runtime = kuberuntime.New(conn, a.cfg.IPs[0].Is6(), a.metrics)
	pause, err := image.Pause()
	if err != nil {
		return err
	}
	if err := a.containerd.Ensure(ctx, pause); err != nil {
		return fmt.Errorf("pause image: %w", err)
	}
	if err := os.MkdirAll(a.podsDir(), 0o711); err != nil {
		return fmt.Errorf("directory for pods: %w", err)
	}
	if err := a.local.Finish(); err != nil {
		return fmt.Errorf("volumes that were being removed: %w", err)
	}
	if a.cfg.Metrics != nil {
		unregister, err := a.metrics.Register(a.cfg.Metrics, func() (metrics.Running, error) { return a.runtime.Running(ctx) })
		if err != nil {
			return fmt.Errorf("node metrics: %w", err)
		}
		defer unregister()
	}
	a.events = kube.Recorder(ctx, a.client, corev1.EventSource{Component: "kubelet", Host: a.cfg.Name})

	defer a.running.Wait()
	g, ctx := errgroup.WithContext(ctx)
	for name, part := range map[string]func(context.Context) error{
		"server": a.serve, "status": func(ctx context.Context) error { return a.nodeStatus.Run(ctx, a.runtime, a.events) }, "runtime": a.superviseContainerd, "pods": a.watchPods, "upkeep": a.upkeep, "links": a.watchLinks,
		"volumes": func(ctx context.Context) error { return a.volumes.Run(ctx, a.volumesChanged) },
		"sources": func(ctx context.Context) error {
			a.volumes.Sources.Run(ctx, a.events, a.volumesChanged)
			return ctx.Err()
		},
	} {
		g.Go(func() error {
			err := part(ctx)
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("node agent: %s: %w", name, err)
		})
	}
	return g.Wait()
}

// serve answers the control plane.
func (a *Agent) serve(ctx context.Context) error {
	handlers := map[string]http.Handler{metrics.ProbesPath: a.metrics.Probes(), "POST " + apilocal.Path: a.local, apilocal.Path: a.local}
	maps.Copy(handlers, usage.Reader{Node: a.cfg.Name, CgroupRoot: a.cfg.CgroupRoot, Pods: lookup{a}}.Pages(a.cfg.Dir))
	maps.Copy(handlers, a.cfg.Handlers)
	return server.New(server.Config{
		Node: a.cfg.Name, IPs: a.cfg.IPs, Listen: a.cfg.Listen, Cert: a.cfg.Cert, ClientCAs: a.cfg.ClientCAs, ClusterRanges: a.cfg.ClusterRanges,
		PodsDir: a.podsDir(), Handlers: handlers, Pods: lookup{a}, Runtime: a.runtime,
	}, a.log).Run(ctx)
}

// superviseContainerd starts containerd again whenever it ends.
func (a *Agent) superviseContainerd(ctx context.Context) error {
	var delay time.Duration
	for ctx.Err() == nil {
		if err := a.containerd.Wait(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("containerd cannot be watched", "err", err)
			kube.Sleep(ctx, time.Second)
		}
		if ctx.Err() != nil {
			break
		}
		a.log.Warn("containerd has ended, starting it again")
		if err := a.containerd.Start(ctx); err != nil {
			delay = life.Grow(delay, time.Second, 30*time.Second)
			a.log.Error("containerd does not start", "err", err, "again", delay)
			kube.Sleep(ctx, delay)
			continue
		}
		delay = 0
	}
	return ctx.Err()
}

// Ready is closed when the API server has first taken from this agent that the node is ready.
func (a *Agent) Ready() <-chan struct{} { return a.nodeStatus.Ready() }

// Waiting says what keeps the node from being ready, if anything does.
func (a *Agent) Waiting() string { return a.nodeStatus.Waiting() }

// texts are addresses as they are written.
func texts(addrs []netip.Addr) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return list
}

// LocalVolumes is where the directories of claims are, in the directory of a node.
func LocalVolumes(dir string) string { return filepath.Join(dir, "volumes") }

func (a *Agent) podsDir() string { return filepath.Join(a.cfg.Dir, "pods") }

// node is what the translation of pods has to know of this node.
func (a *Agent) node() spec.Node {
	text, err := os.ReadFile(a.cfg.ResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.log.Warn("the node's resolv.conf cannot be read", "err", err)
	}
	behind, _ := os.ReadFile("/run/systemd/resolve/resolv.conf") // where systemd-resolved runs
	return spec.Node{
		Name:       a.cfg.Name,
		CgroupRoot: a.cfg.CgroupRoot,
		Cluster:    spec.DNS{Servers: texts(a.cfg.ClusterDNS), Zone: a.cfg.Domain},
		Host:       spec.ParseResolvConf(string(text)).ForPods(spec.ParseResolvConf(string(behind))),
		Capacity:   [2]int64{int64(runtime.NumCPU()) * 1000, nodestatus.Memory()},
	}
}
