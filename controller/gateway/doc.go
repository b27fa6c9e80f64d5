// Package gateway is the control plane's part of Gateway API. It installs the
// definitions and the GatewayClass fairlead, and then sleeps until there is a
// Gateway, or a GatewayClass of somebody's own: until then nothing of it is
// watched, and nothing built to serve it.
//
//	a change of anything that it watches
//	  -> a View of the caches -> network/l7/gateway.Derive, which decides everything
//	  -> the Service of each Gateway, slices for its UDP ports, statuses, Events
//
// One pass looks at everything; what has not changed since the last one is
// remembered, and only what differs is written. An object whose last write of
// ours its cache does not show yet is left for the pass that its event begins.
package gateway
