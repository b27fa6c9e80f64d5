// Package gateway runs upstream's conformance suite of Gateway API against a cluster, which the current context of the kubeconfig
// names: `make conformance-gateway` starts one and calls this.
package gateway

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

// TestConformance: everything that the GatewayClass claims.
func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
