package route

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// Table is what an engine serves at one moment.
type Table struct {
	Entries map[Point]*Entry
}

// Point is where connections come in.
type Point struct {
	// Service is whose address was dialled; zero: the node's own ports, on which Ingresses are served.
	Service types.NamespacedName
	Port    uint16 // that was dialled, as the Service or the host has it
	// Local tells that the Service's traffic policy leaves the client the endpoints of this node only (rule P114).
	Local bool
}

// Entry is what is served at a Point. Its Listeners share the port and differ by the host names they are for.
type Entry struct {
	Point
	Protocol Protocol
	// Listeners are in order of precedence: exact names, then wildcards with the longest first, then the one for all.
	Listeners []*Listener
	// ProxyFrom are the clients that begin a connection with PROXY protocol (v1 or v2), usually load balancers. Only they are
	// believed about who the client is; nobody else may say it.
	ProxyFrom []netip.Prefix
}

// Protocol is what an Entry expects of a connection.
type Protocol uint8

// The protocols of entries.
const (
	HTTP  Protocol = iota // HTTP/1.1, and HTTP/2 with prior knowledge
	HTTPS                 // TLS, ended here, with HTTP in it by ALPN
	TLS                   // TLS, told apart by SNI: ended here or passed through, with bytes in it
	TCP                   // bytes
)

// String is the protocol as Gateway API spells it.
func (p Protocol) String() string { return [...]string{"HTTP", "HTTPS", "TLS", "TCP"}[p] }

// Listener is one of an Entry's: for some host names, with the certificates and routes of these.
type Listener struct {
	// Name is for logs and metrics: "ingress", or NAMESPACE/GATEWAY/LISTENER.
	Name string
	// Hostname is the SNI and host it is for: empty is every, "*.example.org" is every name below, of any depth.
	Hostname string
	TLS      *Termination // nil: not ended here
	Hosts    *Hosts       // of HTTP and HTTPS
	// Streams are of TLS and TCP: where connections go by SNI, in order of precedence. Of TCP there is one at most.
	Streams []Stream
	// Misdirected has requests refused with 421 whose host belongs to another listener of the same Entry than the SNI of their
	// connection did (RFC 9110, 15.5.20).
	Misdirected bool
}

// Covers reports whether the Hostname of a Listener or Stream is for a host: empty for each, a wildcard for every name below.
func Covers(hostname, host string) bool {
	if len(hostname) > 1 && hostname[0] == '*' {
		return len(host) >= len(hostname) && host[len(host)-len(hostname)+1:] == hostname[1:]
	}
	return hostname == "" || hostname == host
}

// Stream is where connections for an SNI go as bytes.
type Stream struct {
	Source   Source
	Hostname string // as a Listener's
	Backends []Backend
}

// Termination is how TLS is ended.
type Termination struct {
	// Certificates may serve, in order of their Host; which does is decided by the SNI (For). Where none fits, the first one without
	// a host does, and where there is none of that either, a certificate that the engine signs itself.
	Certificates []Certificate
	Clients      *ClientCheck // nil: clients show no certificate
	// Ask are the names, in order, for which clients are asked for a certificate that is not looked at here, but by CertificateAuth. They
	// are as Certificate.Host; empty is for every SNI.
	Ask []string
}

// Asks reports whether clients are asked for a certificate for an SNI, in lower case.
func (t *Termination) Asks(sni string) bool {
	if len(t.Ask) == 0 {
		return false
	}
	for _, name := range [...]string{"", sni, wildcard(sni)} {
		if _, is := slices.BinarySearch(t.Ask, name); is {
			return true
		}
	}
	return false
}

// wildcard is that which covers a name: its first label is a "*".
func wildcard(name string) string {
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		return "*" + name[dot:]
	}
	return "*."
}

// For are the certificates for an SNI, in lower case: those that are for it, those for the wildcard that covers it, and those that are
// for no name and serve if they have it.
func (t *Termination) For(sni string) (exact, covering, any []Certificate) {
	any = t.of("")
	if sni != "" {
		exact, covering = t.of(sni), t.of(wildcard(sni))
	}
	return exact, covering, any
}

// of are the certificates for a host.
func (t *Termination) of(host string) []Certificate {
	from, _ := slices.BinarySearchFunc(t.Certificates, host, func(c Certificate, host string) int { return strings.Compare(c.Host, host) })
	to := from
	for to < len(t.Certificates) && t.Certificates[to].Host == host {
		to++
	}
	return t.Certificates[from:to]
}

// Certificate is a Secret of type kubernetes.io/tls.
type Certificate struct {
	// Host is the name it is for, as in Ingress (a wildcard covers one label); empty: whatever names the certificate has.
	Host   string
	Secret types.NamespacedName
}

// ClientCheck is what is asked of certificates that clients show.
type ClientCheck struct {
	CAs *x509.CertPool
	// Insecure lets clients in whose certificate does not verify, or who have none (Gateway API's AllowInsecureFallback).
	Insecure bool
}

// Source is the object that a rule was made from, for logs, metrics and explanations.
type Source struct {
	Kind string // Ingress, HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, Service
	types.NamespacedName
	Rule string // what tells it from the object's others: its name, or its place in the object
}

// String is KIND NAMESPACE/NAME RULE.
func (s Source) String() string {
	text := s.Kind + " " + s.NamespacedName.String()
	if s.Rule != "" {
		text += " " + s.Rule
	}
	return text
}
