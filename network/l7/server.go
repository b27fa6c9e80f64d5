package l7

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// Bounds of what a client may do, as nginx has them by default where it has any.
const (
	headTimeout = 60 * time.Second // for the head of a request
	idleTimeout = 75 * time.Second // between two requests
	maxHead     = 64 << 10         // bytes of a head

	lingerTimeout = 2 * time.Second // for a client to see that its request is not wanted any more
)

type connectionKey struct{}

func (e *Engine) newServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           http.HandlerFunc(e.serveHTTP),
		Protocols:         &protocols,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          log.New(io.Discard, "", 0), // what clients do wrong they are told
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			return context.WithValue(ctx, connectionKey{}, c)
		},
	}
}

// exchange is one request and its answer.
type exchange struct {
	*Engine
	w    *answer
	r    *http.Request
	conn *connection

	path, query string   // as they were sent
	normal      string   // path in its normal form
	others      []string // further normal forms that it may have
	host        string   // in lower case, without port
	listener    *route.Listener
	rule        *route.Rule
	plan        *plan

	begin    time.Time
	id       string
	endpoint string // that answered, for the log
	service  types.NamespacedName
	tries    int
	leave    func(netip.Addr)   // of the limiter that let it in
	kept     *upstream.Endpoint // that the client's cookie names
	stay     stay
}

// serveHTTP answers a request that net/http has read.
func (e *Engine) serveHTTP(w http.ResponseWriter, r *http.Request) {
	conn, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		panic("a request came in by a connection that the engine did not put there")
	}
	x := &exchange{Engine: e, w: &answer{ResponseWriter: w}, r: r, conn: conn, begin: time.Now()}
	e.metrics.inFlight.Inc()
	defer x.done()
	switch problem := x.read(); {
	case problem != nil:
		x.fail(problem.status, problem.text)
	case !x.find(e.table.Load()):
	default:
		x.serve()
	}
}

// problem is why a request is answered by the engine itself.
type problem struct {
	status int
	text   string
}

// read takes from the request what rules look at.
func (x *exchange) read() *problem {
	r := x.r
	if r.Method == http.MethodConnect {
		return &problem{http.StatusMethodNotAllowed, "CONNECT is for forward proxies, and this is none"}
	}
	host, ok := hostOf(r.Host)
	if !ok {
		return &problem{http.StatusBadRequest, "the Host of the request is no host name"}
	}
	x.host = host
	if r.RequestURI == "*" {
		return &problem{http.StatusBadRequest, "a request for the server as a whole leads nowhere"}
	}
	x.query = r.URL.RawQuery
	sent := pathOf(r)
	if x.normal, ok = route.PlainPath(sent); ok {
		x.path = sent
		return nil
	}
	reading, err := route.ReadPath(sent)
	if err != nil {
		return &problem{http.StatusBadRequest, err.Error()}
	}
	x.path, x.normal, x.others = reading.Forward, reading.Normal, reading.Others
	return nil
}

// pathOf is the path as the client has encoded it.
func pathOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") { // absolute form: as the URL was read
		path = r.URL.EscapedPath()
	}
	if path == "" {
		path = "/"
	}
	return path
}

// find looks for the rule; what has none is answered.
func (x *exchange) find(now *served) bool {
	entry := now.Entries[x.conn.point]
	if entry == nil {
		x.fail(http.StatusNotFound, "nothing is served here any more")
		return false
	}
	l := now.listener(entry, x.host)
	if own := x.conn.listener; x.conn.secure && own != nil {
		if own.Misdirected && l != nil && l.Name != own.Name {
			x.fail(http.StatusMisdirectedRequest, "the host of the request is not the one that this connection was opened for")
			return false
		}
	}
	if l == nil || l.Hosts == nil {
		x.fail(http.StatusNotFound, "no route for this host")
		return false
	}
	x.listener = l
	var sure bool
	if x.rule, sure = l.Hosts.FindSure(&route.Request{Host: x.host, Method: x.r.Method, Path: x.normal, Values: (*values)(x)}, x.others); !sure {
		x.fail(http.StatusBadRequest, "the path of the request can be read in ways that lead to different rules: encode no slash in it, and leave out what follows a semicolon")
		return false
	}
	if x.rule == nil {
		x.fail(http.StatusNotFound, "no route for this host and path")
		return false
	}
	x.plan = x.planOf(now, x.rule)
	return true
}

// fail answers with a status and a sentence.
func (x *exchange) fail(status int, text string) {
	x.respond(status, text+"\n")
}

func (x *exchange) respond(status int, body string) {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, body) // a client that has gone needs no answer
	}
}

// answer is a ResponseWriter that notes what was said.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
	edit   func(http.Header) // of the head, once
}

func (a *answer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		if a.status != 0 {
			return
		}
		a.status = status
		h := a.Header()
		if a.edit != nil {
			a.edit(h)
		}
		if h.Get("Server") == "" {
			h.Set("Server", "fairlead")
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap is how http.ResponseController finds what the server can do.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
