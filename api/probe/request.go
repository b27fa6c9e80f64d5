package probe

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// Path is where an agent takes a Request, by POST, and answers with a Reply, both in JSON.
const Path = "/fairlead/v1/probe"

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

// Outcome is what a Counter takes of it.
func (r Reply) Outcome() Outcome {
	switch {
	case r.Unknown:
		return Unknown
	case r.OK:
		return Success
	}
	return Failure
}
