package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Protocol is a transport protocol by its IP protocol number.
type Protocol uint8

// The transport protocols a Service port can have.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String is the lower-case name, as nft prints it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprint(uint8(p))
}

// ProtocolOf is a protocol as the API spells it; TCP is its default.
func ProtocolOf(p corev1.Protocol) Protocol {
	switch p {
	case corev1.ProtocolUDP:
		return UDP
	case corev1.ProtocolSCTP:
		return SCTP
	}
	return TCP
}

// Kind says where a frontend's address comes from.
type Kind uint8

// The kinds of frontends.
const (
	ClusterIP    Kind = iota // spec.clusterIPs
	NodePort                 // a node port on one of the node's addresses
	ExternalIP               // spec.externalIPs
	LoadBalancer             // status.loadBalancer.ingress
)

// String is the kind as the API spells the Service field or type.
func (k Kind) String() string {
	return [...]string{"ClusterIP", "NodePort", "ExternalIP", "LoadBalancer"}[k]
}

// Scope says which endpoints a set draws from.
type Scope uint8

// The scopes of a set.
const (
	Cluster Scope = iota // endpoints anywhere, after topology hints (P10, P12)
	Local                // endpoints on this node only (P11)
)

// String is the scope as the traffic policies spell it.
func (s Scope) String() string { return [...]string{"Cluster", "Local"}[s] }

// Verdict says what happens to a connection to a set.
type Verdict uint8

// The verdicts of a set.
const (
	Forward Verdict = iota // to one of the backends
	Refuse                 // TCP reset or ICMP port unreachable: no endpoint anywhere (P18)
	Drop                   // silence: endpoints exist, but the policy excludes all of them (P35)
)

// String is the verdict in one lower-case word.
func (v Verdict) String() string { return [...]string{"forward", "refuse", "drop"}[v] }

// Backend is one endpoint of a set.
type Backend struct {
	Addr        netip.AddrPort
	Local       bool // on this node
	Terminating bool // chosen only because nothing ready was left
}

// Set is what one port of a Service balances over under one scope. Frontends
// refer to it, so that an endpoint is listed once however many addresses lead
// to it.
type Set struct {
	Port     string // the Service port's name, empty for an unnamed port
	Proto    Protocol
	Scope    Scope
	Backends []Backend     // by address, each once; empty unless Verdict is Forward
	Shares   []int         // of each of the Backends, from 1; nil: all have one (P21)
	Verdict  Verdict       // Forward if and only if there are Backends
	Affinity time.Duration // client address affinity, sliding; zero for none
	InTurn   bool          // new connections go round instead of at random
	ByClient bool          // the client's address decides instead of chance; see Spread
}

// Frontend is an address, protocol and port on which a Service answers.
type Frontend struct {
	Kind     Kind
	Addr     netip.AddrPort
	Proto    Protocol
	Port     string // the Service port's name
	Scope    Scope  // of the set that serves it, for a client anywhere
	Shortcut bool   // pods and processes of this node get the Cluster set instead (P36, P38, P41, P42)
	// KeepSource leaves the client's address alone whoever the client is.
	// Otherwise it is kept for pods of this node and replaced by an address of
	// this node for everybody else, because the answer has to come back through
	// here to be translated (P30-P40).
	KeepSource bool
	// Sources limits the clients to these prefixes; others are dropped (P45).
	// Empty means everybody.
	Sources []netip.Prefix
	// TakenBy is the elder Service that has the address (P43), empty for none.
	// One Service alone cannot tell: Settle fills it in, and Claims knows.
	TakenBy types.NamespacedName
}

// Rows is everything one Service contributes on one node.
type Rows struct {
	Service   types.NamespacedName
	Created   time.Time // of the Service: the elder wins an address claimed twice
	Frontends []Frontend
	Sets      []Set
	Serving   []Serving // per UDP port
}

func (r *Rows) age() api.Age { return api.Age{Created: r.Created, Name: r.Service} }

// Serving is where the existing flows of a UDP port may go on to: endpoints
// that serve, whatever the policies say about new flows (P80, P82). A flow to
// anywhere else has to be cut, or it would go on for ever.
type Serving struct {
	Port      string
	Endpoints []netip.AddrPort // by address
}

// Set returns the set a port uses under a scope, nil when there is none.
func (r *Rows) Set(port string, scope Scope) *Set {
	i := slices.IndexFunc(r.Sets, func(s Set) bool { return s.Port == port && s.Scope == scope })
	if i < 0 {
		return nil
	}
	return &r.Sets[i]
}

// IsEmpty reports whether the Service contributes nothing.
func (r *Rows) IsEmpty() bool { return len(r.Frontends) == 0 && len(r.Sets) == 0 }

// Table prints rows for people and for tests: one line per frontend.
func Table(all ...Rows) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "FRONTEND\tPROTO\tKIND\tSERVICE\tPORT\tSCOPE\tSOURCE\tAFFINITY\tBACKENDS")
	for i := range all {
		r := &all[i]
		for _, f := range r.Frontends {
			s := r.Set(f.Port, f.Scope)
			source := "masq"
			if f.KeepSource {
				source = "keep"
			}
			affinity := "-"
			if s.Affinity > 0 {
				affinity = s.Affinity.String()
			}
			if s.InTurn {
				affinity += " in turn"
			}
			if s.ByClient {
				affinity += " by client"
			}
			fmt.Fprintf(t, "%v\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t%v\n", f.Addr, f.Proto, f.Kind,
				r.Service, orDash(f.Port), f.Scope, source, affinity, describe(s))
			if f.TakenBy != (types.NamespacedName{}) {
				fmt.Fprintf(t, "  taken by\t\t\t%v\n", f.TakenBy)
			}
			if f.Shortcut {
				fmt.Fprintf(t, "  from this node\t\t\t\t\t%v\t\t\t%v\n", Cluster, describe(r.Set(f.Port, Cluster)))
			}
			if len(f.Sources) > 0 {
				fmt.Fprintf(t, "  only from\t\t\t\t\t\t\t\t%v\n", f.Sources)
			}
		}
	}
	_ = t.Flush() // a strings.Builder does not fail
	return trimLines(b.String())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func describe(s *Set) string {
	if s.Verdict != Forward {
		return s.Verdict.String()
	}
	words := make([]string, len(s.Backends))
	for i, b := range s.Backends {
		words[i] = b.Addr.String()
		if b.Local {
			words[i] += "*"
		}
		if b.Terminating {
			words[i] += "!"
		}
		if s.Shares != nil {
			words[i] += fmt.Sprintf(" (%d)", s.Shares[i])
		}
	}
	return strings.Join(words, " ")
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
