package l7

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// rig is an engine with a socket for each of its entries.
type rig struct {
	*Engine
	t    *testing.T
	log  *bytes.Buffer // access log
	mu   sync.Mutex
	keys map[types.NamespacedName]map[string][]byte
	cert map[types.NamespacedName]*tls.Certificate
}

// Write is the access log's.
func (r *rig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, log: new(bytes.Buffer), keys: map[types.NamespacedName]map[string][]byte{}, cert: map[types.NamespacedName]*tls.Certificate{}}
	r.Engine = New(Config{
		MayAsk:      func(netip.Addr) bool { return true }, // the tests' servers are on the loopback
		Secret:      func(n types.NamespacedName) map[string][]byte { return r.keys[n] },
		Certificate: func(n types.NamespacedName) *tls.Certificate { return r.cert[n] },
		AccessLog:   r,
	}, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return r
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// listen opens a socket for a point.
func (r *rig) listen(p route.Point) string {
	r.t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		r.t.Fatal(err)
	}
	addr := l.Addr().String()
	stop, err := r.Listen(l, At(p))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(stop)
	return addr
}

var (
	web   = route.Point{Port: 80}
	webS  = route.Point{Port: 443}
	svc   = types.NamespacedName{Namespace: "ns", Name: "web"}
	aCert = types.NamespacedName{Namespace: "ns", Name: "cert"}
)

// table has one host for everything, at both ports.
func table(rules ...*route.Rule) *route.Table {
	hosts := route.NewHosts([]*route.Host{{Rules: rules}})
	return &route.Table{Entries: map[route.Point]*route.Entry{
		web:  {Point: web, Protocol: route.HTTP, Listeners: []*route.Listener{{Name: "plain", Hosts: hosts}}},
		webS: {Point: webS, Protocol: route.HTTPS, Listeners: []*route.Listener{{Name: "tls", Hosts: hosts, TLS: &route.Termination{Certificates: []route.Certificate{{Secret: aCert}}}}}},
	}}
}

func toService(a route.Action) *route.Rule {
	if a.Backends == nil {
		a.Backends = []route.Backend{{Service: svc, Port: 80, Weight: 1}}
	}
	return &route.Rule{Source: route.Source{Kind: "Ingress", Rule: "/"}, Match: route.Match{Path: route.Path{Value: "/"}}, Action: a}
}

// backend is an HTTP server of the test's.
func backend(t *testing.T, h http.HandlerFunc) lb.Backend {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s.Config.Protocols = &p
	s.Start()
	t.Cleanup(s.Close)
	return lb.Backend{Addr: netip.MustParseAddrPort(s.Listener.Addr().String())}
}

// echo answers with the request as it came.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s host=%s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	_ = r.Header.WriteSubset(w, nil)
	fmt.Fprintf(w, "\n%s", body)
}

func newClient(t *testing.T, p *http.Protocols) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "any.example"}, Protocols: p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func protocols(set func(*http.Protocols)) *http.Protocols {
	p := new(http.Protocols)
	set(p)
	return p
}

// TestProtocols: HTTP/1.1 and HTTP/2, plain and in TLS, reach backends of either.
func TestProtocols(t *testing.T) {
	r := newRig(t)
	plain, secure := r.listen(web), r.listen(webS)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	for _, to := range []struct {
		protocol route.BackendProtocol
		is       string
	}{{route.HTTP1, "HTTP/1.1"}, {route.HTTP2, "HTTP/2.0"}} {
		r.Serve(table(toService(route.Action{Backends: []route.Backend{{Service: svc, Port: 80, Weight: 1, Protocol: to.protocol}}})))
		for _, c := range []struct {
			name, url, is string
			p             *http.Protocols
		}{
			{"HTTP/1.1", "http://" + plain, "HTTP/1.1", protocols(func(p *http.Protocols) { p.SetHTTP1(true) })},
			{"prior knowledge", "http://" + plain, "HTTP/2.0", protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })},
			{"HTTP/1.1 in TLS", "https://" + secure, "HTTP/1.1", protocols(func(p *http.Protocols) { p.SetHTTP1(true) })},
			{"ALPN", "https://" + secure, "HTTP/2.0", protocols(func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) })},
		} {
			res, err := newClient(t, c.p).Post(c.url+"/a%2Fb?x=1", "text/plain", strings.NewReader("the body"))
			if err != nil {
				t.Fatalf("%s to %s: %v", c.name, to.is, err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 || res.Proto != c.is || !strings.HasPrefix(string(body), "POST /a%2Fb?x=1 "+to.is+" host=") ||
				!strings.HasSuffix(string(body), "\nthe body") || !strings.Contains(string(body), "X-Forwarded-For: 127.0.0.1\r\n") || res.Header.Get("Server") == "" {
				t.Errorf("%s to %s: %s %s %v\n%s", c.name, to.is, res.Proto, res.Status, res.Header, body)
			}
		}
	}
}

// TestNothing: what leads nowhere is answered with the reason.
func TestNothing(t *testing.T) {
	r := newRig(t)
	plain := r.listen(web)
	get := func(path string) string {
		res, err := newClient(t, nil).Get("http://" + plain + path)
		if err != nil {
			return "refused"
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(body)))
	}
	rule := toService(route.Action{})
	rule.Match.Path.Value = "/there"
	broken := toService(route.Action{Backends: []route.Backend{{Broken: "there is no Service ns/gone", Weight: 1}}})
	broken.Match.Path.Value = "/broken"
	weightless := toService(route.Action{Backends: []route.Backend{{Service: svc, Port: 80}}})
	weightless.Match.Path.Value = "/weightless"
	none := toService(route.Action{Backends: []route.Backend{}})
	none.Match.Path.Value = "/none"
	r.Serve(table(rule, broken, weightless, none))
	for path, want := range map[string]string{
		"/":           "404 no route for this host and path",
		"/there":      "503 Service ns/web has no ready endpoint for its port 80",
		"/broken":     "500 the backend of the route cannot be used: there is no Service ns/gone",
		"/weightless": "503 no backend of the route has a weight",
		"/none":       "500 the route has no backend",
	} {
		if got := get(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
