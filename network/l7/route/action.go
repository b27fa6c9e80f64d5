package route

import (
	"crypto/x509"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Action is what is done with a request, in the order of the fields: it is checked, answered here or changed, copied, and sent
// to one of the backends. The zero value of each is to do nothing of the kind.
type Action struct {
	Allow, Deny []netip.Prefix // clients; Deny wins, an empty Allow is everybody. Others get 403
	Limit       Limit
	Unlimited   []netip.Prefix // clients that Limit does not bound
	MaxBody     int64          // bytes; 0: no limit. A larger body gets 413
	CORS        *CORS
	Certificate *CertificateAuth
	Basic       *BasicAuth
	External    *ExternalAuth

	Redirect *Redirect // answered here
	Respond  *Respond  // answered here

	Rewrite  *Rewrite
	Request  HeaderEdit // of the request, before it is sent on
	Response HeaderEdit // of the answer
	Mirrors  []Mirror

	Backends []Backend // chosen by weight; empty: 500, or 503 when no weight is above zero
	Instead  *Instead  // of the Backends, where these have no answer, or one that is not wanted
	Balance  Balance
	Affinity *Affinity
	Timeouts Timeouts
	Retry    Retry

	// BufferRequest and BufferResponse hold a body back until it is there in full; otherwise it streams.
	BufferRequest, BufferResponse bool
	Quiet                         bool // not in the access log
}

// Limit bounds what one client address may do. Zero is no bound; more gets 429 (requests) or 503 (connections).
type Limit struct {
	PerSecond   float64
	Burst       int
	Connections int // requests under way at once
	Status      int // instead of 429 or 503; 0: those
	// Together has the rules of an object that have the same Limit counted together; otherwise each is for itself.
	Together bool
}

// CORS is what is said to pages of other origins (the Fetch standard), for preflight requests and real ones.
type CORS struct {
	Origins          []string // exact, or with one * for a part of the host, or "*"
	Methods, Headers []string // allowed; "*" is all
	Expose           []string
	Credentials      bool
	MaxAge           time.Duration
}

// CertificateAuth asks for a certificate of the client, over a connection of which Termination.Ask has one asked for; over another
// connection of TLS the answer is a 421, upon which clients open one of their own for the host. Others get 400. What was found out goes to
// the backend: ssl-client-verify (SUCCESS, NONE, or FAILED: and why), ssl-client-subject-dn and ssl-client-issuer-dn.
type CertificateAuth struct {
	CAs        *x509.CertPool
	Depth      int    // the authorities that may be between one of CAs and the certificate
	Optional   bool   // who shows none is let in
	Unverified bool   // and who shows one that does not verify, too
	ErrorPage  string // where those are sent that are not let in, with Variables; empty: 400
	Pass       bool   // the certificate goes to the backend as ssl-client-cert, in PEM, percent-encoded
}

// BasicAuth asks for a user and password. Others get 401.
type BasicAuth struct {
	Realm  string
	Secret types.NamespacedName
	// ByUser reads the Secret as one key a user with the hash as value; otherwise its key "auth" is an htpasswd file.
	ByUser bool
}

// ExternalAuth asks another server about each request, by its headers without the body: 2xx lets it pass, 401 and 403 are given
// to the client, everything else is a 500.
type ExternalAuth struct {
	URL     string // with Variables
	Method  string // empty: GET
	SignIn  string // where a 401 is sent instead, with Variables; empty: the answer is given as it is
	Copy    []string
	Headers []Header // sent along
	// Backend is asked instead of the URL's host when it is set.
	Backend *Backend
}

// Header is a header's name, in canonical form, and value.
type Header struct{ Name, Value string }

// HeaderEdit changes headers: first Remove, then Set, then Add.
type HeaderEdit struct {
	Set, Add []Header
	Remove   []string // canonical
}

// IsEmpty reports whether nothing is changed.
func (e HeaderEdit) IsEmpty() bool { return len(e.Set)+len(e.Add)+len(e.Remove) == 0 }

// Redirect answers with another place.
type Redirect struct {
	Status int    // 301, 302, 303, 307, 308
	Scheme string // empty: that of the request
	Host   string // empty: that of the request
	Port   int    // 0: the scheme's own if Scheme is set, else the one the request came to
	Path   *PathRewrite
	URL    string // the whole place, with Variables; the fields above do not count then
}

// Respond answers without a backend.
type Respond struct {
	Status int
	Body   string // text/plain
}

// Rewrite changes where a request goes.
type Rewrite struct {
	Host string // empty: as it was
	Path *PathRewrite
}

// PathRewrite changes a path; exactly one is set. The query stays.
type PathRewrite struct {
	Full   *string // instead of the path
	Prefix *string // instead of the Prefix that matched
	// Captures is for a Regex that matched: $1 to $9 in it are its groups.
	Captures *string
}

// Mirror sends a copy of a request, whose answer is dropped.
type Mirror struct {
	Backend                Backend
	Numerator, Denominator int // the share of requests that is copied; 0/0: all
}

// Backend is a port of a Service that requests may be sent to.
type Backend struct {
	Service  types.NamespacedName
	Port     int32 // the Service's
	Local    bool  // only its endpoints on this node
	Weight   int32 // relative to the others of an Action; Services of weight 0 get nothing
	Protocol BackendProtocol
	TLS      *BackendTLS // nil: plain
	// Request, Response, Rewrite and Mirrors are in addition to the Action's, for what goes to this backend.
	Request, Response HeaderEdit
	Rewrite           *Rewrite
	Mirrors           []Mirror
	// Broken is why nothing can be sent to it (it does not exist, or may not be named here): its share of requests gets Status,
	// which is 500 unless it is set (Gateway API wants that; controllers of Ingresses give 503).
	Broken string
	Status int
}

// Instead is a backend that gets the requests for which the one that was chosen has no ready endpoint, or cannot be used.
type Instead struct {
	Backend Backend
	// Codes are answers, of backends and of the engine in their place, instead of which a GET of / is answered by Backend, as that
	// answers. It is told of the request by X-Code, X-Format (the client's Accept), X-Original-Uri and Headers.
	Codes   []int
	Headers []Header
}

// BackendProtocol is what a backend speaks.
type BackendProtocol uint8

// The protocols of backends.
const (
	HTTP1 BackendProtocol = iota // HTTP/1.1, upgrades included
	HTTP2                        // with prior knowledge (h2c), or by ALPN if there is TLS; gRPC
)

// BackendTLS is how a backend is connected to with TLS.
type BackendTLS struct {
	ServerName string         // SNI, and the name its certificate has to have; empty: neither is said
	Names      []string       // one of them instead of ServerName in the certificate (DNS names, or spiffe:// URIs)
	CAs        *x509.CertPool // nil with System false: the certificate is not verified
	System     bool           // the machine's own authorities
	Client     *types.NamespacedName
}

// Balance is how an endpoint of a backend is chosen.
type Balance struct {
	Kind BalanceKind
	// HashBy has the same value always go to the same endpoint while it is there (consistent hashing). It may contain Variables.
	HashBy string
}

// BalanceKind says how.
type BalanceKind uint8

// The ways to choose.
const (
	RoundRobin BalanceKind = iota
	LeastRequest
	Hashed
)

// Affinity keeps a client at an endpoint by a cookie.
type Affinity struct {
	Cookie   string
	Path     string        // of the cookie; empty: the path that matched
	Domain   string        //
	MaxAge   time.Duration // 0: until the browser ends
	SameSite string        // Strict, Lax, None or empty
	Secure   bool
	// Rebalance gives a client another endpoint when its own has gone, without an error; otherwise that is so only after a failed
	// connection.
	Rebalance bool
	// Absolute and Idle are the longest a session lasts (Gateway API); 0: no end.
	Absolute, Idle time.Duration
}

// Timeouts end what takes too long. Zero is the engine's own default for Connect, and none for the others.
type Timeouts struct {
	Request time.Duration // the whole, from its head to the end of the answer: 504
	Backend time.Duration // one try at a backend: 504
	Connect time.Duration // to an endpoint
	Send    time.Duration // between two writes to an endpoint
	Read    time.Duration // between two reads from it
}

// Retry is when a request is tried at another endpoint. A connection that could not be made is always worth another try, as
// nothing was sent; everything else only for requests whose body can be sent again.
type Retry struct {
	Tries    int           // after the first; 0: the engine's default for connections that fail, none for others
	Never    bool          // not even then
	Codes    []int         // answers that are tried again
	OnError  bool          // a connection that breaks before the answer
	OnSlow   bool          // a try that timed out
	Unsafe   bool          // also of methods that are not idempotent
	Backoff  time.Duration // before the second and each further one
	Deadline time.Duration // after which there are no more; 0: none
}
