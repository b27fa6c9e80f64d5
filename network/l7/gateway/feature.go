package gateway

import (
	"slices"

	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// features are what upstream's conformance suite is to test: all that is claimed. docs/gateway.md says of each what it is.
var features = []gw.FeatureName{
	"Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "ReferenceGrant", "ListenerSet",
	"BackendTLSPolicy", "BackendTLSPolicySANValidation",
	"GatewayAddressEmpty", "GatewayBackendClientCertificate", "GatewayFrontendClientCertificateValidation",
	"GatewayFrontendClientCertificateValidationInsecureFallback", "GatewayHTTPListenerIsolation",
	"GatewayHTTPSListenerDetectMisdirectedRequests", "GatewayInfrastructure", "GatewayPort8080", "GatewayStaticAddresses",
	"GRPCRouteNamedRouteRule",
	"HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode",
	"HTTPRouteBackendProtocolH2C", "HTTPRouteBackendProtocolWebSocket", "HTTPRouteBackendRequestHeaderModification",
	"HTTPRouteBackendTimeout", "HTTPRouteCORS", "HTTPRouteDestinationPortMatching", "HTTPRouteHostRewrite", "HTTPRouteMethodMatching", "HTTPRouteNamedRouteRule",
	"HTTPRouteParentRefPort", "HTTPRoutePathRedirect", "HTTPRoutePathRewrite", "HTTPRoutePortRedirect", "HTTPRouteQueryParamMatching",
	"HTTPRouteRequestMirror", "HTTPRouteRequestMultipleMirrors", "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestTimeout",
	"HTTPRouteResponseHeaderModification", "HTTPRouteSchemeRedirect",
	"TLSRouteModeMixed", "TLSRouteModeTerminate",
}

// Features are those that GatewayClasses of ours have, in order.
func Features() []gw.SupportedFeature {
	all := slices.Sorted(slices.Values(features))
	out := make([]gw.SupportedFeature, len(all))
	for i, name := range all {
		out[i].Name = name
	}
	return out
}
