package join

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
	bootstraptoken "k8s.io/cluster-bootstrap/token/util"

	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/pki"
)

const (
	// readTimeout bounds how long a machine may take to send its request.
	readTimeout = 10 * time.Second
	// A cluster's machines may come all at once; what is beyond that is a loop gone wild.
	joinsPerSecond, joinsAtOnce = 20, 500
)

// Handler answers joins. Make one with NewHandler.
type Handler struct {
	Config
	pace flowcontrol.RateLimiter

	mu  sync.Mutex // guards the files in Dir, and api
	api Cluster
}

// Cluster is what a Handler asks the API.
type Cluster struct {
	Nodes  func(context.Context) ([]*corev1.Node, error)
	Tokens Secrets
}

// Config is what a Handler needs to know.
type Config struct {
	CA         *pki.Authority
	Secret     func() (string, error) // of the cluster's own token, which may be replaced while the server runs
	Networking config.Networking      // what the nodes are told
	Claims     claim.Cluster          // what no node may claim to be
	Dir        string                 // keeps a hash of each node's own secret
}

// NewHandler returns a handler that tells everybody to come again until Open.
func NewHandler(c Config) *Handler {
	return &Handler{Config: c, pace: flowcontrol.NewTokenBucketRateLimiter(joinsPerSecond, joinsAtOnce)}
}

// Open lets machines in; with a Cluster that has no Nodes they are told to come again.
func (h *Handler) Open(api Cluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.api = api
}

func (h *Handler) cluster() (Cluster, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.api.Nodes == nil {
		return h.api, refuse(http.StatusServiceUnavailable, "the server is starting; try again")
	}
	return h.api, nil
}

// refusal is an answer to a machine that is not let in.
type refusal struct {
	code int
	text string
}

func (r refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) error {
	return refusal{code, fmt.Sprintf(format, args...)}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := h.join(w, r)
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer) // a client that went away needs no answer
		return
	}
	code := http.StatusInternalServerError
	if no := (refusal{}); errors.As(err, &no) {
		code = no.code
	}
	if code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, "join: "+err.Error(), code)
}

func (h *Handler) join(w http.ResponseWriter, r *http.Request) (*Answer, error) {
	if r.Method != http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, "use POST")
	}
	known, err := h.admit(r)
	if err != nil {
		return nil, err
	}
	if !h.pace.TryAccept() {
		return nil, refuse(http.StatusTooManyRequests, "too many machines at once; try again")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)) // not every way here has one
	var req Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req); err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	if known != "" && known != req.Node {
		return nil, refuse(http.StatusForbidden, "the certificate is node %q's, not %q's", known, req.Node)
	}
	if err := h.judge(r.Context(), req); err != nil {
		return nil, err
	}
	answer, err := h.certify(req)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	return answer, h.claim(req.Node, req.NodeSecret, known != "")
}

// admit finds out whether a request may ask at all: it brings the token, or the certificate of a node, whose name is returned.
func (h *Handler) admit(r *http.Request) (known string, err error) {
	tokens := r.Header.Values("Authorization")
	if len(tokens) == 0 && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return h.nodeOf(r.TLS.PeerCertificates[0])
	}
	secret, err := h.Secret()
	if err != nil || len(secret) < minSecret {
		return "", refuse(http.StatusServiceUnavailable, "the server's own token is damaged, empty or too short, so nobody can join; remove the file 'token' in its data directory and start it again")
	}
	if len(tokens) == 1 {
		given, bearer := strings.CutPrefix(tokens[0], "Bearer ")
		if bearer && equal(given, secret) {
			return "", nil
		}
		if bearer && bootstraptoken.IsValidBootstrapToken(given) {
			return "", h.admitFor(r.Context(), given)
		}
	}
	return "", refuse(http.StatusUnauthorized, "wrong token; the right one is in join-token in the server's data directory, and 'fairlead token create' makes others")
}

// admitFor admits by a token for a while.
func (h *Handler) admitFor(ctx context.Context, given string) error {
	api, err := h.cluster()
	if err != nil {
		return err
	}
	id, _, _ := strings.Cut(given, ".")
	kept, err := api.Tokens.Get(ctx, bootstraptoken.BootstrapTokenSecretName(id), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && !admits(kept, given, h.CA.Now()):
		return refuse(http.StatusUnauthorized, "token %s is wrong, or has ended; 'fairlead token create' makes another", id)
	case err != nil:
		return refuse(http.StatusServiceUnavailable, "token %s cannot be looked up: %v", id, err)
	}
	return nil
}

// nodeOf is the node that a client certificate of this cluster belongs to.
func (h *Handler) nodeOf(cert *x509.Certificate) (string, error) {
	options := x509.VerifyOptions{Roots: h.CA.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: h.CA.Now()}
	if why := pki.Untimely(cert, h.CA.Now()); why != "" && h.CA.Knows(cert) {
		return "", refuse(http.StatusUnauthorized, "%s; set the clock, or join with the token", why)
	}
	if _, err := cert.Verify(options); err != nil {
		return "", refuse(http.StatusUnauthorized, "the certificate is not of this cluster, or has ended; join with the token: %v", err)
	}
	name, ok := strings.CutPrefix(cert.Subject.CommonName, userPrefix)
	if !ok || name == "" || !slices.Contains(cert.Subject.Organization, nodesGroup) {
		return "", refuse(http.StatusForbidden, "the certificate of %q is not a node's", cert.Subject.CommonName)
	}
	return name, nil
}

// judge refuses a machine that says of itself what it cannot be.
func (h *Handler) judge(ctx context.Context, req Request) error {
	if err := h.Claims.Name(req.Node); err != nil {
		return refuse(http.StatusBadRequest, "%v; give this machine another --node-name", err)
	}
	if n := len(req.Addrs); n == 0 || n > 2 || n == 2 && req.Addrs[0].Unmap().Is4() == req.Addrs[1].Unmap().Is4() {
		return refuse(http.StatusBadRequest, "node %s: addresses %v: one is needed, or one of each family", req.Node, req.Addrs)
	}
	if len(req.NodeSecret) < minSecret {
		return refuse(http.StatusBadRequest, "node %s: its own secret is missing or too short; remove the file node-secret in its directory", req.Node)
	}
	api, err := h.cluster()
	if err != nil {
		return err
	}
	others, err := api.Nodes(ctx)
	if err != nil {
		return refuse(http.StatusServiceUnavailable, "the nodes cannot be listed: %v", err)
	}
	if err := h.Claims.Addresses(req.Node, req.Addrs, others); err != nil {
		return refuse(http.StatusForbidden, "node %s: %v; give this machine's own with --node-ip", req.Node, err)
	}
	return nil
}

// claim binds a node name to the secret first shown under it. One that must be known already is bound to nothing new: whoever
// removed the file wanted the node to have no new certificates.
func (h *Handler) claim(node, secret string, known bool) error {
	sum := sha256.Sum256([]byte(secret))
	mine := []byte(hex.EncodeToString(sum[:]))
	path := filepath.Join(h.Dir, node)
	h.mu.Lock()
	defer h.mu.Unlock()
	first, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && known:
		return refuse(http.StatusForbidden, "node %q is not known any more; join with the token", node)
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(h.Dir, 0o700); err != nil {
			return err
		}
		return durable.WriteFile(path, mine, 0o600)
	case err != nil:
		return err
	case len(first) != len(mine):
		return refuse(http.StatusForbidden, "%s on the server is damaged; delete it if node %q is this machine", path, node)
	case subtle.ConstantTimeCompare(first, mine) != 1:
		return refuse(http.StatusForbidden, "another machine joined as node %q; give this one another --node-name, or delete %s on the server if that machine is gone", node, path)
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
	return &Answer{CA: h.CA.CertPEM(), ClientCert: client, ServingCert: serving, Networking: h.Networking}, nil
}
