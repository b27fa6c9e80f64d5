package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Path is where an agent serves Serve, by POST.
const Path = "/fairlead/v1/probe"

const (
	maxRequest = 64 << 10
	maxTimeout = 5 * time.Minute
)

// Request asks a node to probe an address outside of the cluster once, because the cluster's traffic to it leaves from nodes.
type Request struct {
	Address netip.Addr `json:"address"`
	Port    int32      `json:"port"` // takes the place of the port in Handler
	// Handler is httpGet, tcpSocket or grpc.
	Handler        corev1.ProbeHandler `json:"handler"`
	TimeoutSeconds int32               `json:"timeoutSeconds"`
}

// Reply is how the one try ended. Unknown means that the probe could not be carried out, which says nothing about the address.
type Reply struct {
	OK      bool   `json:"ok"`
	Unknown bool   `json:"unknown,omitempty"`
	Message string `json:"message,omitempty"`
}

// Serve answers a Request with a Reply. It keeps nothing: how many failures count is the caller's business.
func Serve(w http.ResponseWriter, r *http.Request) {
	var request Request
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	if err := decoder.Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("probe request: %v", err), http.StatusBadRequest)
		return
	}
	check, err := request.check()
	if err != nil {
		http.Error(w, fmt.Sprintf("probe request: %v", err), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), request.timeout())
	defer cancel()
	answer := check(ctx)
	reply := Reply{OK: answer.Outcome == Success, Unknown: answer.Outcome == Broken}
	if !reply.OK {
		reply.Message = answer.Text
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply) // the caller has gone, if anything
}

func (r *Request) timeout() time.Duration {
	return min(max(time.Duration(r.TimeoutSeconds)*time.Second, time.Second), maxTimeout)
}

// check refuses what would let a caller reach the node itself: its loopback and links, and commands.
func (r *Request) check() (Check, error) {
	a := r.Address.Unmap()
	if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return nil, fmt.Errorf("address %s: not one that a Service may have as an endpoint", r.Address)
	}
	if r.Port < 1 || r.Port > 65535 {
		return nil, fmt.Errorf("port %d: must be between 1 and 65535, inclusive", r.Port)
	}
	handler := r.Handler.DeepCopy()
	switch {
	case handler.HTTPGet != nil:
		handler.HTTPGet.Host, handler.HTTPGet.Port = "", intstr.FromInt32(r.Port)
	case handler.TCPSocket != nil:
		handler.TCPSocket.Host, handler.TCPSocket.Port = "", intstr.FromInt32(r.Port)
	case handler.GRPC != nil:
		handler.GRPC.Port = r.Port
	default:
		return nil, errors.New("must specify httpGet, tcpSocket or grpc")
	}
	return New(handler, Target{IP: a.String()}, r.timeout())
}
