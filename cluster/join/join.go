// Package join lets a machine become a node: it proves that it knows the cluster's token and receives the
// certificates of its agent.
//
// A token is "<fingerprint of the authority>.<secret>": the fingerprint lets the new node know the server
// before it trusts it, the secret lets the server know the node. A node name belongs to whoever joined
// under it first: the agent keeps a secret of its own and must show it when it comes again, so that a
// holder of the token cannot take over another node's identity. With that secret and its present certificate
// a node gets new certificates before the old ones end, without the token.
package join

import (
	"net/netip"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/pki"
)

// Path is where the API server answers joins.
const Path = "/fairlead/v1/join"

const (
	// maxRequest bounds the body of a join in bytes.
	maxRequest = 64 << 10
	// minSecret is the length below which no secret admits anybody, however it came to be so short.
	minSecret = 16
)

// Request is what a node sends.
type Request struct {
	Node       string       `json:"node"`
	NodeSecret string       `json:"nodeSecret"`
	Addrs      []netip.Addr `json:"addrs"` // one, or one of each family
	ClientCSR  []byte       `json:"clientCSR"`
	ServingCSR []byte       `json:"servingCSR"`
}

// Answer is what it receives.
type Answer struct {
	CA          []byte            `json:"ca"`
	ClientCert  []byte            `json:"clientCert"`
	ServingCert []byte            `json:"servingCert"`
	Networking  config.Networking `json:"cluster"`
}

// Token is the text a user passes to `fairlead agent`.
func Token(ca *pki.Authority, secret string) string { return ca.Fingerprint() + "." + secret }

// ClientIdentity is how a node's agent names itself to the API server: upstream's kubelet user and group.
func ClientIdentity(node string) pki.Request {
	return pki.Request{CommonName: userPrefix + node, Organizations: []string{nodesGroup}, Client: true}
}

// ServingIdentity is how a node's agent names itself to those who call it.
func ServingIdentity(node string, addrs []netip.Addr) pki.Request {
	return pki.Request{CommonName: userPrefix + node, Organizations: []string{nodesGroup}, Addrs: addrs, Names: []string{node}, Server: true}
}

// How nodes are called in certificates: upstream's names.
const (
	userPrefix = "system:node:"
	nodesGroup = "system:nodes"
)
