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
	Namespace func(name string) map[string]string // its labels
	Service   func(types.NamespacedName) *corev1.Service
	Secret    func(types.NamespacedName) *corev1.Secret
	ConfigMap func(types.NamespacedName) *corev1.ConfigMap
}
