package health

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/network/world"
)

// Config says which node this is and where it answers.
type Config struct {
	NodeName string
	NodeIPs  []netip.Addr                    // where health check node ports answer
	Listen   []netip.AddrPort                // where /healthz and /livez answer; kube-proxy's port is 10256
	Pages    map[netip.AddrPort]http.Handler // what else to serve, where; may be nil
	SyncLag  func() SyncLag                  // of this node's rules
	Engine   bool                            // this node has an L7 engine, which serves Gateways
	Events   record.EventRecorder            // told about ports that cannot be opened; may be nil
	Metrics  prometheus.Registerer           // may be nil
}

// Server answers for one node. Make one with New.
type Server struct {
	cfg    Config
	world  *world.World
	log    *slog.Logger
	counts counts
}

// New returns a Server for what w knows. It opens nothing.
func New(cfg Config, w *world.World, log *slog.Logger) *Server {
	return &Server{cfg: cfg, world: w, log: log, counts: newCounts(cfg.Metrics)}
}

// retryEvery is how often a port that could not be opened is tried again.
const retryEvery = time.Second

// Run answers until ctx is done, which is not an error. Its sockets belong to the network namespace of the calling
// goroutine's thread.
func (s *Server) Run(ctx context.Context) error {
	select { // before that a Service's absence means nothing, and neither does its number of endpoints
	case <-s.world.Synced():
	case <-ctx.Done():
		return nil
	}
	subscription := s.world.Subscribe(world.Services)
	defer subscription.Close()
	d := newListeners(s.log, s.complain)
	defer d.closeAll()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.Healthz)
	mux.HandleFunc("/livez", s.Livez)
	for _, at := range s.cfg.Listen {
		d.want(at, types.NamespacedName{}, mux)
	}
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	ports := map[types.NamespacedName]uint16{} // of Services that have listeners
	for at, page := range s.cfg.Pages {
		d.want(at, types.NamespacedName{}, page)
	}
	for {
		d.settle(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-subscription.Wake():
			for name := range subscription.Take().Of(world.Services) {
				s.follow(name, ports, d)
			}
		case <-retry.C:
		}
	}
}

// follow wants the listeners that a Service needs now, and no longer those it needed before (rule P92).
func (s *Server) follow(name types.NamespacedName, ports map[types.NamespacedName]uint16, d *listeners) {
	svc, _ := s.world.Service(name)
	port := Port(svc)
	for _, ip := range s.cfg.NodeIPs {
		if before := ports[name]; before != 0 && (before != port || !Serves(svc, ip.Is6())) {
			d.unwant(netip.AddrPortFrom(ip, before), name)
		}
		if port != 0 && Serves(svc, ip.Is6()) {
			d.want(netip.AddrPortFrom(ip, port), name, s.answerService(name, ip.Is6()))
		}
	}
	if ports[name] = port; port == 0 {
		delete(ports, name)
	}
}

// complain tells the Service whose port cannot be opened, in kube-proxy's words. It is called once for each time that a port
// turns out to be taken.
func (s *Server) complain(name types.NamespacedName, at netip.AddrPort, err error) {
	svc, _ := s.world.Service(name)
	if svc == nil || s.cfg.Events == nil || errors.Is(err, context.Canceled) {
		return
	}
	s.cfg.Events.Eventf(svc, corev1.EventTypeWarning, "FailedToStartServiceHealthcheck",
		"node %s failed to start healthcheck %q on port %d: %v", s.cfg.NodeName, name.String(), at.Port(), err)
}
