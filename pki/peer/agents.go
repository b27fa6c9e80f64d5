// Package peer is how the parts of a cluster that run in different processes call each other: by mutual TLS under the
// cluster's authority, each side sure of who the other is, not only of who signed its certificate.
package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/pki"
)

const (
	// CallerGroup is the group of those whom agents obey. Its members may do nothing on the API itself: an agent, or whoever
	// answers in its place, must gain nothing by sending a caller there.
	CallerGroup = "fairlead:agent-callers"
	callerName  = "fairlead-apiserver-agent-client"
	// dialTimeout bounds how long an unreachable node holds a request.
	dialTimeout = 10 * time.Second
)

// Caller is who the control plane is towards agents.
func Caller() pki.Request {
	return pki.Request{CommonName: callerName, Organizations: []string{CallerGroup}, Client: true}
}

// IsCaller says whether a client certificate of the cluster's authority is that of one whom agents obey.
func IsCaller(cert *x509.Certificate) bool {
	return slices.Contains(cert.Subject.Organization, CallerGroup)
}

// Find tells where the agent of a node listens.
type Find func(ctx context.Context, node string) (netip.AddrPort, error)

// Agents is a transport to the agents of nodes: the host of a URL is the name of a node. An agent must show the serving
// certificate of that very node, wherever it listens.
func Agents(as *pki.Source, roots *x509.CertPool, find Find) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			name, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			at, err := find(ctx, name)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, at.String())
		},
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig: &tls.Config{
			RootCAs: roots, GetClientCertificate: as.ForClient, MinVersion: tls.VersionTLS12, VerifyConnection: isNode,
		},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     90 * time.Second,
		// Streams are upgraded connections, which HTTP/2 does not have.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// isNode checks what the usual verification cannot: that the certificate is of an agent. The names in it have been checked.
func isNode(c tls.ConnectionState) error {
	if who := c.PeerCertificates[0].Subject.CommonName; who != "system:node:"+c.ServerName {
		return fmt.Errorf("%q answers in place of node %s", who, c.ServerName)
	}
	return nil
}

// Agent is where the agent of a node listens, as its status says.
func Agent(n *corev1.Node) (netip.AddrPort, error) {
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	if port <= 0 || port > 65535 {
		return netip.AddrPort{}, errors.New("it has not published the port of its agent yet")
	}
	if ips := api.InternalIPs(n); len(ips) > 0 {
		return netip.AddrPortFrom(ips[0], uint16(port)), nil
	}
	return netip.AddrPort{}, errors.New("it has not published an address yet")
}

// Host is the host of the URLs at which Agents reaches a node. Agent says whether it can be reached at all.
func Host(n *corev1.Node) string {
	return net.JoinHostPort(n.Name, strconv.Itoa(int(n.Status.DaemonEndpoints.KubeletEndpoint.Port)))
}
