package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/life"
)

// pod finds the pod that a request is for.
func (s *Server) pod(r *http.Request) (Pod, error) {
	return s.cfg.Pods.Get(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), types.UID(r.PathValue("uid")))
}

// runningContainer finds the container that a stream is for.
func (s *Server) runningContainer(r *http.Request) (string, error) {
	pod, err := s.pod(r)
	if err != nil {
		return "", err
	}
	name := r.PathValue("container")
	c := pod.Seen.Newest(name)
	if c == nil || c.State != life.Running {
		return "", fmt.Errorf("container %w (%q)", ErrNotFound, name)
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

func (s *Server) serveExec(w http.ResponseWriter, r *http.Request) {
	id, err := s.runningContainer(r)
	if err != nil {
		writeError(w, err)
		return
	}
	q := r.URL.Query()
	answer, err := s.cfg.Runtime.Exec(r.Context(), &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: q["command"], Tty: flag(q, "tty"),
		Stdin: flag(q, "input", "stdin"), Stdout: flag(q, "output", "stdout"), Stderr: flag(q, "error", "stderr") && !flag(q, "tty"),
	})
	s.stream(w, r, answer.GetUrl(), err)
}

func (s *Server) serveAttach(w http.ResponseWriter, r *http.Request) {
	id, err := s.runningContainer(r)
	if err != nil {
		writeError(w, err)
		return
	}
	q := r.URL.Query()
	answer, err := s.cfg.Runtime.Attach(r.Context(), &runtimeapi.AttachRequest{
		ContainerId: id, Tty: flag(q, "tty"),
		Stdin: flag(q, "input", "stdin"), Stdout: flag(q, "output", "stdout"), Stderr: flag(q, "error", "stderr") && !flag(q, "tty"),
	})
	s.stream(w, r, answer.GetUrl(), err)
}

func (s *Server) servePortForward(w http.ResponseWriter, r *http.Request) {
	pod, err := s.pod(r)
	if err != nil {
		writeError(w, err)
		return
	}
	sandbox := pod.Seen.Ready()
	if sandbox == nil {
		writeError(w, fmt.Errorf("sandbox of pod %q %w", pod.Object.Name, ErrNotFound))
		return
	}
	var ports []int32
	for _, text := range append(r.URL.Query()["port"], r.URL.Query()["ports"]...) {
		if port, err := strconv.ParseUint(text, 10, 16); err == nil {
			ports = append(ports, int32(port))
		}
	}
	answer, err := s.cfg.Runtime.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: sandbox.ID, Port: ports})
	s.stream(w, r, answer.GetUrl(), err)
}

// stream connects the caller to the streaming server of containerd. That one listens on the node's loopback, and its address holds
// a random token that is good for one use within a minute.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, address string, err error) {
	if err == nil {
		var target *url.URL
		if target, err = url.Parse(address); err == nil {
			handler := proxy.NewUpgradeAwareHandler(target, http.DefaultTransport, false, true, responder{s.log})
			handler.ServeHTTP(w, r)
			return
		}
	}
	writeError(w, fmt.Errorf("the runtime does not open a stream: %s", kuberuntime.Message(err)))
}

// responder answers when the proxied stream fails before it is set up.
type responder struct{ log *slog.Logger }

// Error implements proxy.ErrorResponder.
func (r responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	r.log.Debug("a stream failed", "err", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
