package gateway

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// Names by which Fairlead is known to Gateway API.
const (
	Controller = gw.GatewayController("fairlead.dev/gateway") // of GatewayClasses that are ours
	Class      = "fairlead"                                   // the GatewayClass that every cluster has
)

// View is the objects that a derivation looks at. They are shared, and never changed. Lists may be in any order.
type View struct {
	Classes         []*gw.GatewayClass
	Gateways        []*gw.Gateway
	ListenerSets    []*gw.ListenerSet
	HTTPRoutes      []*gw.HTTPRoute
	GRPCRoutes      []*gw.GRPCRoute
	TLSRoutes       []*gw.TLSRoute
	TCPRoutes       []*gw.TCPRoute
	UDPRoutes       []*gw.UDPRoute
	ReferenceGrants []*gw.ReferenceGrant
	Policies        []*gw.BackendTLSPolicy

	// What is looked up by name; nil means that there is none.
	Namespace func(name string) map[string]string          `json:"-"` // its labels
	Service   func(types.NamespacedName) *corev1.Service   `json:"-"`
	Secret    func(types.NamespacedName) *corev1.Secret    `json:"-"`
	ConfigMap func(types.NamespacedName) *corev1.ConfigMap `json:"-"`
}

// Namespaces are those that objects with a say about where they may be attached are in.
func (v *View) Namespaces() map[string]bool {
	all := map[string]bool{}
	for _, r := range v.HTTPRoutes {
		all[r.Namespace] = true
	}
	for _, r := range v.GRPCRoutes {
		all[r.Namespace] = true
	}
	for _, r := range v.TLSRoutes {
		all[r.Namespace] = true
	}
	for _, r := range v.TCPRoutes {
		all[r.Namespace] = true
	}
	for _, r := range v.UDPRoutes {
		all[r.Namespace] = true
	}
	for _, s := range v.ListenerSets {
		all[s.Namespace] = true
	}
	return all
}
