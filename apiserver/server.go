// Package apiserver is the Kubernetes API of the program: k8s.io/apiserver assembled over an embedded etcd,
// the kinds of package registry, rights from package auth, and pod streams through package nodelink.
//
// It is the only package that assembles k8s.io/apiserver. Versioned v1 types are the hub; what k8s.io/kubernetes
// decides of kinds that are not ours is asked through the adapter of package registry. Priority and fairness is upstream's, with the turns of large lists behind it for those whom it exempts.
package apiserver

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/apiserver/custom"
	"fairlead.dev/fairlead/apiserver/encryption"
	"fairlead.dev/fairlead/apiserver/issuers"
	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/store"
	"fairlead.dev/fairlead/pki"
)

// Config is what the API server of one cluster needs to know.
type Config struct {
	DataDir      string          // etcd lives in DataDir/etcd
	EtcdServers  []string        // client URLs of an external etcd; empty: the embedded one
	Bind         netip.AddrPort  // where to serve HTTPS
	Advertise    netip.Addr      // address published in the endpoints of the kubernetes Service, of the primary family
	PodCIDRs     []netip.Prefix  // of the pods of all nodes
	ServiceCIDRs []netip.Prefix  // cluster addresses of Services, a range of each family, the primary first; its first is the API's own
	ClusterDNS   []netip.Addr    // cluster addresses of the DNS Service, in the same order
	Domain       string          // zone of the cluster's DNS, such as cluster.local
	NodePorts    alloc.PortRange // node ports of Services
	Node         string          // the node that this server runs on, whose addresses are its own; empty: none
	CA           *pki.Authority  // signs the serving certificate and every client's

	// AccountKeys are those of service accounts: the first signs their tokens, each is believed.
	AccountKeys []*ecdsa.PrivateKey

	Join http.Handler // serves /fairlead/v1/join, before authentication; nil: not served

	// Metrics are those of the parts beside the server, to be shown on its /metrics; nil: there are none.
	Metrics prometheus.Gatherer

	// Listen opens the socket, somewhere else than in this process's network namespace; nil: there.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	// Encryption is a file of Kubernetes' EncryptionConfiguration, by which objects are encrypted in etcd; empty: one that the
	// cluster makes for itself in the data directory, for Secrets.
	Encryption string

	Audit   Audit          // which requests are written down
	Issuers issuers.Config // of users' tokens, besides the cluster itself

	// Admission is a file of upstream's kind AdmissionConfiguration; empty: every plugin is as it is by default.
	Admission string

	Profiling        bool // serve Go's profiles, below /debug/pprof, to those who may get that path
	AllowExternalIPs bool // accept Services that claim addresses by spec.externalIPs (CVE-2020-8554)
}

// Server is the API server. Make one with New, start it with Run.
type Server struct {
	cfg     Config
	log     *slog.Logger
	ready   chan struct{}
	client  *rest.Config   // set before ready is closed
	api     http.Handler   // what answers requests; set before ready is closed
	customs *custom.Server // likewise
	own     *self          // likewise

	acknowledged registry.Acknowledged
	waiting      atomic.Pointer[string]
}

// New checks cfg and returns a server that has touched nothing yet.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	switch {
	case cfg.DataDir == "" && len(cfg.EtcdServers) == 0:
		return nil, errors.New("api server: neither a data directory nor etcd servers are given")
	case cfg.CA == nil:
		return nil, errors.New("api server: no certificate authority is given")
	case len(cfg.AccountKeys) == 0:
		return nil, errors.New("api server: no key of service accounts is given")
	case !cfg.Bind.IsValid():
		return nil, errors.New("api server: no address to serve on is given")
	case !cfg.Advertise.IsValid() || cfg.Advertise.IsUnspecified():
		return nil, fmt.Errorf("api server: cannot advertise address %v: nodes could not reach it", cfg.Advertise)
	}
	if err := checkFamilies(cfg); err != nil {
		return nil, fmt.Errorf("api server: %w", err)
	}
	if err := checkFiles(cfg); err != nil {
		return nil, fmt.Errorf("api server: %w", err)
	}
	return &Server{cfg: cfg, log: log, ready: make(chan struct{})}, nil
}

// checkFiles reads the administrator's files, before anything is touched.
func checkFiles(cfg Config) error {
	if cfg.Encryption != "" {
		if err := encryption.Check(context.Background(), cfg.Encryption); err != nil {
			return err
		}
	}
	if cfg.Issuers.Enabled() {
		if err := cfg.Issuers.Check(); err != nil {
			return err
		}
	}
	return cfg.Audit.check()
}

// checkFamilies checks that the addresses of the cluster agree about its families.
func checkFamilies(cfg Config) error {
	if len(cfg.ServiceCIDRs) == 0 || len(cfg.ServiceCIDRs) > 2 {
		return fmt.Errorf("%d Service ranges are given, it must be one, or one of each family", len(cfg.ServiceCIDRs))
	}
	if len(cfg.ClusterDNS) != len(cfg.ServiceCIDRs) {
		return fmt.Errorf("cluster DNS addresses %v: one is needed in each Service range of %v", cfg.ClusterDNS, cfg.ServiceCIDRs)
	}
	for i, dns := range cfg.ClusterDNS {
		if !cfg.ServiceCIDRs[i].Contains(dns) {
			return fmt.Errorf("cluster DNS address %v is not in the Service range %v", dns, cfg.ServiceCIDRs[i])
		}
	}
	if len(cfg.ServiceCIDRs) == 2 && cfg.ClusterDNS[0].Is4() == cfg.ClusterDNS[1].Is4() {
		return fmt.Errorf("the Service ranges %v are of one family", cfg.ServiceCIDRs)
	}
	if cfg.Advertise.Is4() != cfg.ClusterDNS[0].Is4() {
		return fmt.Errorf("address %v cannot be advertised: it is not of the family of the first Service range, %v", cfg.Advertise, cfg.ServiceCIDRs[0])
	}
	return nil
}

// Ready is closed when /readyz answers ok and the bootstrap objects exist.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// ClientConfig connects to this server as system:masters, in protobuf. It is valid once Ready is closed.
func (s *Server) ClientConfig() *rest.Config { return rest.CopyConfig(s.client) }

// InProcess is a configuration for parts of this process that are to call the server directly rather than over the network, as
// whoever a source speaks for; nil: by the token of config. It is valid once Ready is closed.
func (s *Server) InProcess(config *rest.Config, as *pki.Source) *rest.Config {
	return inProcess(config, as, s.api)
}

// Waiting says what keeps the server from being ready.
func (s *Server) Waiting() string {
	if what := s.waiting.Load(); what != nil {
		return *what
	}
	return "it has not begun"
}

func (s *Server) waits(what string) { s.waiting.Store(&what) }

// Acknowledged says how far the writes have come that this server has answered.
func (s *Server) Acknowledged() *registry.Acknowledged { return &s.acknowledged }

// Run serves until ctx ends, then drains requests, and stops etcd last. It returns an error when the
// address is taken, the store cannot be opened, or either of them fails later.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer listener.Close()
	// The store outlives the API: it has its own context, ended after the API has stopped.
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	etcd := &backend{servers: s.cfg.EtcdServers, log: s.log}
	var ready <-chan struct{}
	if len(etcd.servers) == 0 {
		st := store.New(s.cfg.DataDir, s.log.With("component", "etcd"))
		etcd.embedded, ready = st, st.Ready()
		group.Go(func() error { return st.Run(storeCtx) })
	}
	group.Go(func() error {
		defer stopStore()
		return s.serve(ctx, listener, etcd, ready)
	})
	return group.Wait()
}

// serve builds and runs the API over a store.
func (s *Server) serve(ctx context.Context, listener net.Listener, etcd *backend, storeReady <-chan struct{}) error {
	identity, err := newIdentity(s.cfg, listener.Addr())
	if err != nil {
		return err
	}
	keepLock, release, err := s.prepare(ctx, etcd, storeReady)
	if release == nil {
		return err
	}
	defer release()
	client := identity.client()
	defer etcd.close()
	own, err := newSelf(identity)
	if err != nil {
		return err
	}
	kept := &keeper{cfg: s.cfg, id: identity, client: own.client}
	s.waits("its kinds are being installed")
	api, customs, err := assemble(ctx, s.cfg, identity, own, listener, etcd, kept, &s.acknowledged, s.log)
	if ctx.Err() != nil {
		if api != nil {
			api.Destroy()
		}
		return nil // whatever failed, failed because it was broken off
	}
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return keepLock(ctx) })
	group.Go(func() error {
		if err := api.PrepareRun().RunWithContext(ctx); err != nil {
			return fmt.Errorf("api server: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		if err := s.awaitReady(ctx, client); err != nil || ctx.Err() != nil {
			return err
		}
		s.client, s.api, s.customs, s.own = client, api.Handler, customs, own
		close(s.ready)
		return kept.publish(ctx, s.log)
	})
	return group.Wait()
}

// prepare waits for the store, sees to it that no other server works on it, and that what is in it can be read. It returns what
// keeps it so, and what lets others in again; nil: nothing came of it.
func (s *Server) prepare(ctx context.Context, etcd *backend, storeReady <-chan struct{}) (keepLock func(context.Context) error, release func(), err error) {
	if storeReady != nil {
		s.waits("the store in " + s.cfg.DataDir + " is still being opened")
		select {
		case <-storeReady:
		case <-ctx.Done():
			return nil, nil, nil
		}
	}
	if len(s.cfg.EtcdServers) > 0 {
		if err := reachEtcd(ctx, s.cfg.EtcdServers); err != nil {
			return nil, nil, unlessOver(ctx, fmt.Errorf("api server: %w", err))
		}
		s.waits("no answer from etcd at " + strings.Join(s.cfg.EtcdServers, ", "))
	}
	if keepLock, release, err = etcd.lock(ctx, s.cfg); err != nil {
		return nil, nil, unlessOver(ctx, fmt.Errorf("api server: %w", err))
	}
	if err := etcd.encrypt(ctx, s.cfg); err != nil {
		release()
		return nil, nil, unlessOver(ctx, err)
	}
	return keepLock, release, nil
}

// unlessOver is err; nil, when ctx has ended: whatever failed, failed because it was broken off.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// families are the kind of sockets that a cluster listens on: of its own families. Left to itself, Go would take "every
// address" to mean those of both, whichever the address is of.
func families(ranges []netip.Prefix) string {
	switch {
	case len(ranges) == 2:
		return "tcp"
	case ranges[0].Addr().Is6():
		return "tcp6"
	}
	return "tcp4"
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	open, bind := s.cfg.Listen, s.cfg.Bind
	if open == nil {
		open = new(net.ListenConfig).Listen
	}
	listener, err := open(ctx, families(s.cfg.ServiceCIDRs), bind.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("api server: port %d on %s is taken by another process: stop it or choose another port: %w", bind.Port(), bind.Addr(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("api server: %w", err)
	}
	return listener, nil
}

// awaitReady polls /readyz over the network, as any client would see it, until it is ok or ctx ends.
func (s *Server) awaitReady(ctx context.Context, config *rest.Config) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("api server: loopback client: %w", err)
	}
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("api server: loopback client: %w", err)
		}
		answer, err := client.Do(request)
		if err != nil {
			s.waits("it cannot be asked: " + err.Error())
		} else if s.judge(answer) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
	}
}

// judge reads an answer of /readyz: which of its checks fail.
func (s *Server) judge(answer *http.Response) bool {
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return true
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var failing []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			failing = append(failing, strings.TrimSpace(name))
		}
	}
	s.waits(fmt.Sprintf("/readyz answers %s: %s", answer.Status, strings.Join(failing, ", ")))
	return false
}
