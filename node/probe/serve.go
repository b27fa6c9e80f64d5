package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api/probe"
)

const (
	maxRequest = 64 << 10
	maxTimeout = 5 * time.Minute
)

// Serve answers a probe.Request with a probe.Reply. It keeps nothing: how many failures count is the caller's business.
func Serve(w http.ResponseWriter, r *http.Request) {
	var request probe.Request
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	if err := decoder.Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("probe request: %v", err), http.StatusBadRequest)
		return
	}
	check, err := checkOf(&request)
	if err != nil {
		http.Error(w, fmt.Sprintf("probe request: %v", err), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout(&request))
	defer cancel()
	answer := check(ctx)
	reply := probe.Reply{OK: answer.Outcome == probe.Success, Unknown: answer.Outcome == probe.Unknown}
	if !reply.OK {
		reply.Message = answer.Text
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply) // the caller has gone, if anything
}

func timeout(r *probe.Request) time.Duration {
	return min(max(time.Duration(r.TimeoutSeconds)*time.Second, time.Second), maxTimeout)
}

// checkOf refuses what would let a caller reach the node itself: its loopback and links, and commands.
func checkOf(r *probe.Request) (Check, error) {
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
	return New(handler, Target{IP: a.String()}, timeout(r))
}
