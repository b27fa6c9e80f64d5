// Package join lets a machine become a node: it proves that it knows the cluster's token and receives the
// certificates of its agent.
//
// A token is "<fingerprint of the authority>.<secret>": the fingerprint lets the new node know the server
// before it trusts it, the secret lets the server know the node. A node name belongs to whoever joined
// under it first: the agent keeps a secret of its own and must show it when it comes again, so that a
// holder of the token cannot take over another node's identity.
package join

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"

	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/pki"
)

// Path is where the API server answers joins.
const Path = "/fairlead/v1/join"

// maxRequest bounds the body of a join in bytes.
const maxRequest = 64 << 10

// Cluster is what every node needs to know of the cluster it joins.
type Cluster struct {
	Pods     []netip.Prefix `json:"podCIDRs"` // one of each family, the primary family first
	Services []netip.Prefix `json:"serviceCIDRs"`
	DNS      []netip.Addr   `json:"clusterDNS"`
	Domain   string         `json:"domain"`
	// Stubs are the name servers of some zones outside the cluster.
	Stubs map[string][]netip.AddrPort `json:"dnsStubs,omitempty"`
	// Autopath has the nodes' name servers try the search lists of pods for them.
	Autopath bool `json:"dnsAutopath,omitempty"`
}

// Request is what a node sends.
type Request struct {
	Node       string       `json:"node"`
	NodeSecret string       `json:"nodeSecret"`
	Addrs      []netip.Addr `json:"addrs"` // at least one
	ClientCSR  []byte       `json:"clientCSR"`
	ServingCSR []byte       `json:"servingCSR"`
}

// Answer is what it receives.
type Answer struct {
	CA          []byte  `json:"ca"`
	ClientCert  []byte  `json:"clientCert"`
	ServingCert []byte  `json:"servingCert"`
	Cluster     Cluster `json:"cluster"`
}

// Token is the text a user passes to `fairlead agent`.
func Token(ca *pki.Authority, secret string) string { return ca.Fingerprint() + "." + secret }

// Handler answers joins. Dir keeps a hash of each node's own secret.
type Handler struct {
	CA      *pki.Authority
	Secret  string
	Cluster Cluster
	Dir     string

	mu sync.Mutex // guards the files in Dir
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "join: use POST", http.StatusMethodNotAllowed)
		return
	}
	secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(h.Secret)) != 1 {
		http.Error(w, "join: wrong token; the right one is printed by 'fairlead server' and kept in its data directory", http.StatusUnauthorized)
		return
	}
	var req Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
		http.Error(w, "join: "+err.Error(), http.StatusBadRequest)
		return
	}
	if problems := validation.IsDNS1123Subdomain(req.Node); len(problems) > 0 || !valid(req.Addrs) || len(req.NodeSecret) < 16 {
		http.Error(w, fmt.Sprintf("join: node %q at %s: bad name, address or secret %v", req.Node, req.Addrs, problems), http.StatusBadRequest)
		return
	}
	if err := h.claim(req.Node, req.NodeSecret); err != nil {
		http.Error(w, "join: "+err.Error(), http.StatusForbidden)
		return
	}
	answer, err := h.certify(req)
	if err != nil {
		http.Error(w, "join: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // a client that went away needs no answer
}

// valid accepts what can be a node's addresses: one, or one of each family.
func valid(addrs []netip.Addr) bool {
	return len(addrs) > 0 && len(addrs) <= 2 && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}

// claim binds a node name to the secret first shown under it.
func (h *Handler) claim(node, secret string) error {
	sum := sha256.Sum256([]byte(secret))
	mine := []byte(hex.EncodeToString(sum[:]))
	path := filepath.Join(h.Dir, node)
	h.mu.Lock()
	defer h.mu.Unlock()
	known, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(h.Dir, 0o700); err != nil {
			return err
		}
		return durable.WriteFile(path, mine, 0o600)
	case err != nil:
		return err
	case subtle.ConstantTimeCompare(known, mine) != 1:
		return fmt.Errorf("another machine joined as node %q; give this one another --node-name, or delete %s on the server if that machine is gone", node, path)
	}
	return nil
}

func (h *Handler) certify(req Request) (*Answer, error) {
	client, err := h.CA.Sign(ClientIdentity(req.Node), req.ClientCSR)
	if err != nil {
		return nil, err
	}
	serving, err := h.CA.Sign(ServingIdentity(req.Node, req.Addrs), req.ServingCSR)
	if err != nil {
		return nil, err
	}
	return &Answer{CA: h.CA.CertPEM(), ClientCert: client, ServingCert: serving, Cluster: h.Cluster}, nil
}

// ClientIdentity is how a node's agent names itself to the API server: upstream's kubelet user and group.
func ClientIdentity(node string) pki.Request {
	return pki.Request{CommonName: "system:node:" + node, Organizations: []string{"system:nodes"}, Client: true}
}

// ServingIdentity is how a node's agent names itself to those who call it.
func ServingIdentity(node string, addrs []netip.Addr) pki.Request {
	return pki.Request{CommonName: "system:node:" + node, Organizations: []string{"system:nodes"}, Addrs: addrs, Names: []string{node}, Server: true}
}
