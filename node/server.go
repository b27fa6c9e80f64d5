package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	apiprobe "fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/probe"
	"fairlead.dev/fairlead/pki/peer"
)

// serve answers the API server on the paths of kubelet's API: containerLogs, exec, attach, portForward, pods, healthz, metrics; and
// on one of our own it probes addresses outside of the cluster, and by CONNECT it carries connections to pods.
func (a *Agent) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		// Streams are upgraded connections, which HTTP/2 does not have.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig: &tls.Config{
			GetCertificate: a.cfg.Cert.ForServer, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.cfg.ClientCAs,
		},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	var g errgroup.Group
	defer server.Close() // the other listeners, should one fail
	for _, at := range a.listenAddrs() {
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
func (a *Agent) listenAddrs() []netip.AddrPort {
	all := []netip.AddrPort{a.cfg.Listen}
	for _, ip := range a.cfg.IPs {
		if ip.Is4() != a.cfg.Listen.Addr().Is4() {
			all = append(all, netip.AddrPortFrom(ip, a.cfg.Listen.Port()))
		}
	}
	return all
}

// handler is what the control plane may ask the agent.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /pods", a.servePods)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.serveLogs)
	for _, path := range []string{"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(path, a.serveExec)
	}
	for _, path := range []string{"/attach/{namespace}/{pod}/{container}", "/attach/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(path, a.serveAttach)
	}
	for _, path := range []string{"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}"} {
		mux.HandleFunc(path, a.servePortForward)
	}
	mux.HandleFunc("POST "+apiprobe.Path, probe.Serve)
	for path, page := range a.cfg.Handlers {
		mux.Handle("GET "+path, page)
	}
	return onlyControlPlane(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			a.serveConnect(w, r)
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

// snapshot is what the server needs to know of a pod.
type snapshot struct {
	pod  *corev1.Pod // with its present status
	seen life.Observed
}

// find asks the worker of a pod for its state. Of several pods of one name it takes the one that is not being deleted.
func (a *Agent) find(ctx context.Context, namespace, name string) (snapshot, error) {
	a.mu.Lock()
	var found []*worker
	for _, w := range a.pods {
		if w.first.Namespace == namespace && w.first.Name == name {
			found = append(found, w)
		}
	}
	a.mu.Unlock()
	var best *snapshot
	for _, w := range found {
		answer := make(chan snapshot, 1)
		w.mail.post(func() { answer <- snapshot{w.current(), w.seen} })
		select {
		case s := <-answer:
			if best == nil || best.pod.DeletionTimestamp != nil {
				best = &s
			}
		case <-time.After(lookTimeout): // the worker has just ended
		case <-ctx.Done():
			return snapshot{}, ctx.Err()
		}
	}
	if best == nil {
		return snapshot{}, fmt.Errorf("pod %q %w in namespace %q", name, errNotHere, namespace)
	}
	return *best, nil
}

func (a *Agent) servePods(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	workers := make([]*worker, 0, len(a.pods))
	for _, one := range a.pods {
		workers = append(workers, one)
	}
	a.mu.Unlock()
	list := corev1.PodList{}
	list.Kind, list.APIVersion = "PodList", "v1"
	for _, one := range workers {
		if s, err := a.find(r.Context(), one.first.Namespace, one.first.Name); err == nil {
			list.Items = append(list.Items, *s.pod)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(list); err != nil {
		a.log.Debug("pods were not sent", "error", err)
	}
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if errors.Is(err, errNotHere) {
		code = http.StatusNotFound
	}
	http.Error(w, err.Error(), code)
}

// runningContainer finds the container that a stream is for.
func (a *Agent) runningContainer(r *http.Request) (string, error) {
	s, err := a.find(r.Context(), r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		return "", err
	}
	name := r.PathValue("container")
	c := s.seen.Newest(name)
	if c == nil || c.State != life.Running {
		return "", fmt.Errorf("container %w (%q)", errNotHere, name)
	}
	return c.ID, nil
}

// flag reads a boolean of the query under kubelet's name or the API's.
func flag(q url.Values, names ...string) bool {
	for _, name := range names {
		if on, err := strconv.ParseBool(q.Get(name)); err == nil && on {
			return true
		}
	}
	return false
}

func (a *Agent) serveExec(w http.ResponseWriter, r *http.Request) {
	id, err := a.runningContainer(r)
	if err != nil {
		fail(w, err)
		return
	}
	q := r.URL.Query()
	answer, err := a.engine.Exec(r.Context(), &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: q["command"], Tty: flag(q, "tty"),
		Stdin: flag(q, "input", "stdin"), Stdout: flag(q, "output", "stdout"), Stderr: flag(q, "error", "stderr") && !flag(q, "tty"),
	})
	a.stream(w, r, answer.GetUrl(), err)
}

func (a *Agent) serveAttach(w http.ResponseWriter, r *http.Request) {
	id, err := a.runningContainer(r)
	if err != nil {
		fail(w, err)
		return
	}
	q := r.URL.Query()
	answer, err := a.engine.Attach(r.Context(), &runtimeapi.AttachRequest{
		ContainerId: id, Tty: flag(q, "tty"),
		Stdin: flag(q, "input", "stdin"), Stdout: flag(q, "output", "stdout"), Stderr: flag(q, "error", "stderr") && !flag(q, "tty"),
	})
	a.stream(w, r, answer.GetUrl(), err)
}

func (a *Agent) servePortForward(w http.ResponseWriter, r *http.Request) {
	s, err := a.find(r.Context(), r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		fail(w, err)
		return
	}
	sandbox := s.seen.Ready()
	if sandbox == nil {
		fail(w, fmt.Errorf("sandbox of pod %q %w", s.pod.Name, errNotHere))
		return
	}
	var ports []int32
	for _, text := range append(r.URL.Query()["port"], r.URL.Query()["ports"]...) {
		if port, err := strconv.ParseUint(text, 10, 16); err == nil {
			ports = append(ports, int32(port))
		}
	}
	answer, err := a.engine.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: sandbox.ID, Port: ports})
	a.stream(w, r, answer.GetUrl(), err)
}

// stream connects the caller to the streaming server of containerd. That one listens on the node's loopback, and its address holds
// a random token that is good for one use within a minute.
func (a *Agent) stream(w http.ResponseWriter, r *http.Request, address string, err error) {
	if err == nil {
		var target *url.URL
		if target, err = url.Parse(address); err == nil {
			handler := proxy.NewUpgradeAwareHandler(target, http.DefaultTransport, false, true, responder{a.log})
			handler.ServeHTTP(w, r)
			return
		}
	}
	fail(w, fmt.Errorf("the runtime does not open a stream: %s", message(err)))
}

// responder answers when the proxied stream fails before it is set up.
type responder struct{ log *slog.Logger }

// Error implements proxy.ErrorResponder.
func (r responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	r.log.Debug("a stream failed", "error", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
