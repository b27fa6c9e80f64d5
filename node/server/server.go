// Package server is the HTTPS API of a node's agent, on the paths of kubelet's: logs, exec, attach and port-forward of pods, the list of
// pods, metrics; and by CONNECT it carries connections to pods. It answers the control plane and nobody else.
package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	apiprobe "fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/probe"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// Config says where an agent answers, to whom, and about what.
type Config struct {
	Node      string
	IPs       []netip.Addr   // of the node
	Listen    netip.AddrPort // what the node's status tells the API server
	Cert      *pki.Source
	ClientCAs *x509.CertPool // who may call
	// ClusterRanges are those of all pods and Services; of these the agent connects nobody but to its own pods.
	ClusterRanges []netip.Prefix
	PodsDir       string                  // where the logs of pods are
	Handlers      map[string]http.Handler // what is served for others, by path; to GET, unless the path begins with another method and a space
	Pods          Pods
	Runtime       *kuberuntime.Client
}

// Pods is what the agent knows of the pods of its node.
type Pods interface {
	// Get finds a pod by name and, if it is not empty, uid: of several the one that is not being deleted. The error wraps ErrNotFound.
	Get(ctx context.Context, namespace, name string, uid types.UID) (Pod, error)
	// List is all pods.
	List(ctx context.Context) []Pod
	// Has tells whether a pod has the address for its own.
	Has(ip netip.Addr) bool
}

// Pod is what the server has to know of one.
type Pod struct {
	Object *corev1.Pod // with its present status
	Seen   life.Observed
}

// ErrNotFound answers requests about pods and containers that the node does not have.
var ErrNotFound = errors.New("not found")

// Server serves the API.
type Server struct {
	cfg Config
	log *slog.Logger
}

// New makes a server; nothing is listened on yet.
func New(cfg Config, log *slog.Logger) *Server { return &Server{cfg, log} }

// Run serves until the context is done or a listener fails.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Streams are upgraded connections, which HTTP/2 does not have.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig: &tls.Config{
			GetCertificate: s.cfg.Cert.ForServer, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.cfg.ClientCAs,
		},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	var g errgroup.Group
	defer server.Close() // the other listeners, should one fail
	for _, at := range s.listenAddrs() {
		var listen net.ListenConfig
		socket, err := listen.Listen(ctx, "tcp", at.String())
		if err != nil {
			return fmt.Errorf("listen on %s: %w", at, err)
		}
		g.Go(func() error {
			defer server.Close()
			return server.ServeTLS(socket, "", "")
		})
	}
	return g.Wait()
}

// listenAddrs are where the agent answers: at Listen, which the node's status tells the API server, and on the same port of
// the node's address of the other family.
func (s *Server) listenAddrs() []netip.AddrPort {
	all := []netip.AddrPort{s.cfg.Listen}
	for _, ip := range s.cfg.IPs {
		if ip.Is4() != s.cfg.Listen.Addr().Is4() {
			all = append(all, netip.AddrPortFrom(ip, s.cfg.Listen.Port()))
		}
	}
	return all
}

// handler is what the control plane may ask the agent.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /pods", s.servePods)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.serveLogs)
	for _, path := range []string{"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(path, s.serveExec)
	}
	for _, path := range []string{"/attach/{namespace}/{pod}/{container}", "/attach/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(path, s.serveAttach)
	}
	for _, path := range []string{"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}"} {
		mux.HandleFunc(path, s.servePortForward)
	}
	mux.HandleFunc("POST "+apiprobe.Path, probe.Serve)
	for path, page := range s.cfg.Handlers {
		if !strings.Contains(path, " ") {
			path = "GET " + path
		}
		mux.Handle(path, page)
	}
	return onlyControlPlane(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			s.serveConnect(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// onlyControlPlane lets in those who call agents: the authority also issues certificates to nodes and users. Administrators come
// by the API server, which knows what they may do.
func onlyControlPlane(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if caller := r.TLS.PeerCertificates[0]; !peer.IsCaller(caller) {
			http.Error(w, fmt.Sprintf("Forbidden (user=%s)", caller.Subject.CommonName), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) servePods(w http.ResponseWriter, r *http.Request) {
	list := corev1.PodList{}
	list.Kind, list.APIVersion = "PodList", "v1"
	for _, p := range s.cfg.Pods.List(r.Context()) {
		list.Items = append(list.Items, *p.Object)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(list); err != nil {
		s.log.Debug("pods were not sent", "err", err)
	}
}

func writeError(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if errors.Is(err, ErrNotFound) {
		code = http.StatusNotFound
	}
	http.Error(w, err.Error(), code)
}
