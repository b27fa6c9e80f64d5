package l7

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// certFor makes a certificate for some names, by itself or by an authority.
func certFor(t *testing.T, by *tls.Certificate, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestUpgrade: after a 101 bytes go both ways, each until its end.
func TestUpgrade(t *testing.T) {
	r := newRig(t)
	r.cert[aCert] = certFor(t, nil, "a.example")
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Upgrade") != "websocket" || q.Header.Get("Sec-Websocket-Key") != "k" {
			w.WriteHeader(400)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nwelcome ")
		n, _ := io.Copy(conn, buffered) // until the client's end
		fmt.Fprintf(conn, " %d bytes", n)
	})})
	r.Serve(table(toService(route.Action{})))
	plain, secure := r.listen(web), r.listen(webS)
	for name, dial := range map[string]func() (net.Conn, error){
		"plain": func() (net.Conn, error) { return net.Dial("tcp", plain) },
		"TLS":   func() (net.Conn, error) { return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true}) },
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly ")
		from := bufio.NewReader(conn)
		res, err := http.ReadResponse(from, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "a" {
			t.Fatalf("%s: %v %v", name, res, err)
		}
		fmt.Fprint(conn, "late")
		if err := conn.(halves).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(from)
		if want := "welcome early late 10 bytes"; string(got) != want || err != nil {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
	}
}

// TestContinueAndTrailers: a client is told to send its body when the backend wants it, and trailers pass both ways.
func TestContinueAndTrailers(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Trailer", "X-Out")
		body, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %s", body, q.Trailer.Get("X-In"))
		w.Header().Set("X-Out", "out")
		w.Header().Set(http.TrailerPrefix+"X-More", "more")
	})})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	from := bufio.NewReader(conn)
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n")
	if line, err := from.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = from.ReadString('\n')
	fmt.Fprint(conn, "4\r\nbody\r\n0\r\nX-In: in\r\n\r\n")
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if string(body) != "body in" || err != nil || res.Trailer.Get("X-Out") != "out" || res.Trailer.Get("X-More") != "more" {
		t.Errorf("%q %v %v", body, err, res.Trailer)
	}
	if got := raw(t, addr, "POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "POST"); !strings.HasPrefix(got[0], "403") {
		t.Errorf("a body that is not wanted: %q", got)
	}
}

// TestStreaming: a part of an answer is there before the next one is made, over every protocol.
func TestStreaming(t *testing.T) {
	r := newRig(t)
	r.cert[aCert] = certFor(t, nil, "a.example")
	next := make(chan bool)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			fmt.Fprint(w, "part\n")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})})
	plain, secure := r.listen(web), r.listen(webS)
	r.Serve(table(prefixed("/lane", route.Action{}), prefixed("/plain", route.Action{Retry: route.Retry{Codes: []int{599}}})))
	for _, url := range []string{"http://" + plain + "/lane", "http://" + plain + "/plain", "https://" + secure + "/lane", "https://" + secure + "/plain"} {
		for _, h2 := range []bool{false, true} {
			c := newClient(t, protocols(func(p *http.Protocols) { p.SetHTTP1(!h2); p.SetHTTP2(h2); p.SetUnencryptedHTTP2(h2) }))
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			from := bufio.NewReader(res.Body)
			for range 3 {
				if line, err := from.ReadString('\n'); line != "part\n" {
					t.Fatalf("%s: %q %v", url, line, err)
				}
				next <- true
			}
			_ = res.Body.Close()
		}
	}
}

// TestGRPC: calls and streams, with their status in trailers, balanced one by one.
func TestGRPC(t *testing.T) {
	r := newRig(t)
	ca := certFor(t, nil, "a.example")
	r.cert[aCert] = ca
	server, h := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	r.Endpoints(svc, 80, []lb.Backend{{Addr: netip.MustParseAddrPort(l.Addr().String())}})
	r.Serve(table(toService(route.Action{Backends: []route.Backend{{Service: svc, Port: 80, Weight: 1, Protocol: route.HTTP2}}})))
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	for addr, how := range map[string]credentials.TransportCredentials{
		r.listen(web): insecure.NewCredentials(), r.listen(webS): credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "a.example"}),
	} {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(how))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c := healthpb.NewHealthClient(conn)
		if got, err := c.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("%v %v", got, err)
		}
		if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
			t.Errorf("a status in trailers: %v", err)
		}
		watch, err := c.Watch(ctx, &healthpb.HealthCheckRequest{Service: "s" + addr})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVICE_UNKNOWN, healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
			if got, err := watch.Recv(); err != nil || got.Status != want {
				t.Fatalf("%v %v, want %v", got, err, want)
			}
			if want == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
				h.SetServingStatus("s"+addr, healthpb.HealthCheckResponse_SERVING)
			} else {
				h.SetServingStatus("s"+addr, healthpb.HealthCheckResponse_NOT_SERVING)
			}
		}
	}
}

// TestProxyProtocol: who may say it says whose connection it is, and others cannot.
func TestProxyProtocol(t *testing.T) {
	r := newRig(t)
	r.cert[aCert] = certFor(t, nil, "a.example")
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, q.Header["X-Forwarded-For"]) })})
	now := table(toService(route.Action{}))
	for _, e := range now.Entries {
		e.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	r.Serve(now)
	plain, secure := r.listen(web), r.listen(webS)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x05\x06\x07\x08\x7f\x00\x00\x01\x04\x00\x00\x50"
	request := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for head, want := range map[string]string{
		"PROXY TCP4 1.2.3.4 127.0.0.1 1000 80\r\n": "[1.2.3.4]", "PROXY TCP6 fd00::1 ::1 1000 80\r\n": "[fd00::1]", "PROXY UNKNOWN\r\n": "[127.0.0.1]", v2: "[5.6.7.8]",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00": "[127.0.0.1]", "": "none", "PROXY TCP4 1.2.3.4\r\n": "none", "PROXY TCP4 fd00::1 ::1 1 2\r\n": "none",
	} {
		if got := raw(t, plain, head+request, "GET"); !strings.Contains(got[0], want) {
			t.Errorf("%q: %s, want %s", head, got, want)
		}
	}
	conn, err := net.Dial("tcp", secure)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, v2)
	over := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	defer over.Close()
	fmt.Fprint(over, request)
	res, err := http.ReadResponse(bufio.NewReader(over), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "[5.6.7.8]" {
		t.Errorf("in TLS: %s", body)
	}
}

// TestCertificates: which one is shown for a name, who has to show one, and what may not be asked over a connection for another name.
func TestCertificates(t *testing.T) {
	r := newRig(t)
	ca := certFor(t, nil, "ca")
	secret := func(name string, c *tls.Certificate) types.NamespacedName {
		n := types.NamespacedName{Namespace: "ns", Name: name}
		r.cert[n] = c
		return n
	}
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	clients := x509.NewCertPool()
	clients.AddCert(ca.Leaf)
	hosts := route.NewHosts([]*route.Host{{Rules: []*route.Rule{toService(route.Action{})}}})
	listener := func(name string, misdirected bool, t route.Termination) *route.Listener {
		return &route.Listener{Name: name, Hostname: name, Hosts: hosts, TLS: &t, Misdirected: misdirected}
	}
	r.Serve(&route.Table{Entries: map[route.Point]*route.Entry{webS: {Point: webS, Protocol: route.HTTPS, Listeners: []*route.Listener{
		listener("one.example", true, route.Termination{Certificates: []route.Certificate{{Secret: secret("one", certFor(t, nil, "one.example"))}}}),
		listener("client.example", true, route.Termination{Certificates: []route.Certificate{{Secret: secret("c", certFor(t, nil, "client.example"))}}, Clients: &route.ClientCheck{CAs: clients}}),
		listener("*.none.example", false, route.Termination{Certificates: []route.Certificate{{Secret: types.NamespacedName{Name: "gone"}}}}),
		listener("*.example", true, route.Termination{Certificates: []route.Certificate{
			{Secret: secret("d", certFor(t, nil, "default"))}, {Secret: secret("n", certFor(t, nil, "named.example"))},
			{Host: "*.w.example", Secret: secret("w", certFor(t, nil, "wild"))}, {Host: "x.w.example", Secret: secret("x", certFor(t, nil, "exact"))},
		}}),
	}}}})
	addr := r.listen(webS)
	for sni, want := range map[string]string{
		"one.example": "one.example", "a.w.example": "wild", "x.w.example": "exact", "b.a.w.example": "default", "named.example": "named.example", "other.example": "default",
		"a.none.example": "Fairlead Ingress, no certificate for this name", "elsewhere": "refused",
	} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: sni})
		got := "refused"
		if err == nil {
			got = conn.ConnectionState().PeerCertificates[0].Subject.CommonName
			_ = conn.Close()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", sni, got, want)
		}
	}
	get := func(sni, host string, h2 bool, cert *tls.Certificate) string {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: sni}
		if cert != nil {
			config.Certificates = []tls.Certificate{*cert}
		}
		c := newClient(t, protocols(func(p *http.Protocols) { p.SetHTTP1(!h2); p.SetHTTP2(h2) }))
		c.Transport.(*http.Transport).TLSClientConfig = config
		req, _ := http.NewRequest("GET", "https://"+addr+"/", nil)
		req.Host = host
		res, err := c.Do(req)
		if err != nil {
			return "refused"
		}
		_ = res.Body.Close()
		return fmt.Sprint(res.StatusCode)
	}
	for _, h2 := range []bool{false, true} {
		for _, c := range []struct {
			sni, host, want string
			cert            *tls.Certificate
		}{
			{"one.example", "one.example", "200", nil}, {"one.example", "other.example", "421", nil}, {"other.example", "one.example", "421", nil}, {"x.example", "y.example", "200", nil},
			{"client.example", "client.example", "refused", nil}, {"client.example", "client.example", "200", certFor(t, ca, "me")}, {"client.example", "client.example", "refused", certFor(t, nil, "me")},
		} {
			if got := get(c.sni, c.host, h2, c.cert); got != c.want {
				t.Errorf("%s over a connection for %s, HTTP/2 %t, with a certificate %t: %s, want %s", c.host, c.sni, h2, c.cert != nil, got, c.want)
			}
		}
	}
}

// TestStreams: TCP goes on as bytes, TLS by its SNI: through or ended here.
func TestStreams(t *testing.T) {
	r := newRig(t)
	r.cert[aCert] = certFor(t, nil, "ended.example")
	own := certFor(t, nil, "own.example")
	serve := func(l net.Listener) lb.Backend {
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					all, _ := io.ReadAll(conn)
					_, _ = conn.Write([]byte(strings.ToUpper(string(all))))
				}()
			}
		}()
		return lb.Backend{Addr: netip.MustParseAddrPort(l.Addr().String())}
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain, secure := types.NamespacedName{Name: "plain"}, types.NamespacedName{Name: "secure"}
	r.Endpoints(plain, 1, []lb.Backend{serve(listen())})
	r.Endpoints(secure, 1, []lb.Backend{serve(tls.NewListener(listen(), &tls.Config{Certificates: []tls.Certificate{*own}}))})
	to := func(n types.NamespacedName) []route.Backend { return []route.Backend{{Service: n, Port: 1, Weight: 1}} }
	p := route.Point{Port: 9}
	r.Serve(&route.Table{Entries: map[route.Point]*route.Entry{
		p: {Point: p, Protocol: route.TCP, Listeners: []*route.Listener{{Streams: []route.Stream{{Backends: to(plain)}}}}},
		webS: {Point: webS, Protocol: route.TLS, Listeners: []*route.Listener{
			{Hostname: "ended.example", TLS: &route.Termination{Certificates: []route.Certificate{{Secret: aCert}}}, Streams: []route.Stream{{Backends: to(plain)}}},
			{Hostname: "*.example", Streams: []route.Stream{{Hostname: "own.example", Backends: to(secure)}, {Hostname: "bare.example", Backends: to(plain)}}},
		}},
	}})
	tcp, tlsAt := r.listen(p), r.listen(webS)
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct{ sni, certificate string }{"TCP": {}, "ended": {"ended.example", "ended.example"}, "passed": {"own.example", "own.example"}} {
		var conn net.Conn
		var err error
		if c.sni == "" {
			conn, err = net.Dial("tcp", tcp)
		} else {
			conn, err = tls.Dial("tcp", tlsAt, &tls.Config{InsecureSkipVerify: true, ServerName: c.sni})
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer conn.Close()
		if over, ok := conn.(*tls.Conn); ok {
			if got := over.ConnectionState().PeerCertificates[0].Subject.CommonName; got != c.certificate {
				t.Errorf("%s: the certificate of %s", name, got)
			}
		}
		fmt.Fprint(conn, long)
		_ = conn.(halves).CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != strings.ToUpper(long) || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := tls.Dial("tcp", tlsAt, &tls.Config{InsecureSkipVerify: true, ServerName: "no.route.test"}); err == nil {
		t.Error("a name without a route is let in")
	}
}

// A path that can be read in several ways goes round no rule, by whichever way a request is read here, and backends get no dot
// segments.
func TestAmbiguousPaths(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, q.RequestURI) })})
	guarded := prefixed("/admin", route.Action{Respond: &route.Respond{Status: 403, Body: "guarded"}})
	r.Serve(table(guarded, prefixed("/", route.Action{})))
	addr := r.listen(web)
	for path, want := range map[string]string{
		"/a": "200 /a", "/caf%C3%A9?q=%2e": "200 /caf%C3%A9?q=%2e", "/a/../b?x=..;": "200 /b?x=..;", "/a%2Fb": "200 /a%2Fb", "/a;v=1/b": "200 /a;v=1/b", "/fetch/https://a/b": "200 /fetch/https://a/b",
		"//a": "200 /a", "/x/../%C3%A4 b": "400 ", "/admin/x": "403 guarded", "/x/../admin": "403 guarded", "/x%2F..%2Fadmin": "403 guarded", "//admin": "403 guarded", "/%61dmin": "403 guarded",
		"/admin;x=1/y": "400 ", "/admin%3Bx/y": "400 ", "/admin%2Fy": "400 ", "/x/..;/admin": "400 ", "/x/..%3b/admin": "400 ", "/x\\..\\admin": "400 ", "/admin%5cx": "400 ", "/../admin": "400 ",
	} {
		for _, fields := range []string{"", "Transfer-Encoding: chunked\r\n"} { // what a lane passes on, and what net/http does
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			body := ""
			if fields != "" {
				body = "0\r\n\r\n"
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n%s\r\n%s", path, fields, body)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if got := fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(text))); got != want && (want != "400 " || res.StatusCode != 400) {
				t.Errorf("%s, with %q: %s, want %s", path, fields, got, want)
			}
		}
	}
}

// A connection that is upgraded may rest for longer than any timeout of its rule; the kernels of both its ends ask meanwhile whether
// the others are there still.
func TestIdleWebSocket(t *testing.T) {
	r := newRig(t)
	to := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(c, c)
	})
	r.Endpoints(svc, 80, []lb.Backend{to})
	short := 20 * time.Millisecond
	r.Serve(table(prefixed("/", route.Action{Timeouts: route.Timeouts{Read: short, Send: short, Request: short, Backend: short}})))
	addr := r.listen(web)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(c)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v %v", res, err)
	}
	time.Sleep(10 * short)
	if asks := keptAlive(t, addr, c.LocalAddr().String()); !asks {
		t.Error("the client's connection is not kept alive by the engine's end")
	}
	if asks := keptAlive(t, "", to.Addr.String()); !asks {
		t.Error("the endpoint's connection is not kept alive by the engine's end")
	}
	if _, err := io.WriteString(c, "still here"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, 10)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "still here" {
		t.Errorf("after a rest: %q, %v", got, err)
	}
}

// keptAlive reports whether the kernel's timer of a connection is that of keep-alive. An empty address is any.
func keptAlive(t *testing.T, local, remote string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	hex := func(a string) string {
		if a == "" {
			return ""
		}
		p := netip.MustParseAddrPort(a)
		b := p.Addr().As4()
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], p.Port())
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 5 && (local == "" || f[1] == hex(local)) && f[2] == hex(remote) && f[3] == "01" {
			return strings.HasPrefix(f[5], "02:")
		}
	}
	t.Errorf("no connection from %s to %s", local, remote)
	return false
}
