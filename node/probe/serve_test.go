package probe

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api/probe"
)

func TestServeRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`{`: "probe request: unexpected EOF",
		`{"address":"127.0.0.1","port":80,"handler":{"tcpSocket":{"port":0}}}`:      "address 127.0.0.1: not one that a Service may have",
		`{"address":"::ffff:127.0.0.1","port":80,"handler":{"tcpSocket":{}}}`:       "not one that a Service may have",
		`{"address":"169.254.169.254","port":80,"handler":{"httpGet":{"port":80}}}`: "not one that a Service may have",
		`{"port":80,"handler":{"tcpSocket":{"port":0}}}`:                            "not one that a Service may have",
		`{"address":"192.0.2.1","port":0,"handler":{"tcpSocket":{"port":1}}}`:       "port 0: must be between 1 and 65535",
		`{"address":"192.0.2.1","port":80,"handler":{"exec":{"command":["id"]}}}`:   "must specify httpGet, tcpSocket or grpc",
	} {
		w := httptest.NewRecorder()
		Serve(w, httptest.NewRequest(http.MethodPost, probe.Path, strings.NewReader(body)))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", body, w.Code, w.Body, want)
		}
	}
}

// TestServe asks this host's own address, whichever it is: a host in the handler does not lead the probe elsewhere.
func TestServe(t *testing.T) {
	at := ownAddress(t)
	socket, err := net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(socket, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	port := netip.MustParseAddrPort(socket.Addr().String()).Port()
	ask := func(handler string) probe.Reply {
		var request probe.Request
		if err := json.Unmarshal([]byte(handler), &request.Handler); err != nil {
			t.Fatal(err)
		}
		request.Address, request.Port, request.TimeoutSeconds = at, int32(port), 5
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		Serve(w, httptest.NewRequest(http.MethodPost, probe.Path, strings.NewReader(string(body))))
		var reply probe.Reply
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		return reply
	}
	for handler, want := range map[string]probe.Reply{
		`{"tcpSocket":{"port":1,"host":"203.0.113.9"}}`:             {OK: true},
		`{"httpGet":{"port":1,"path":"/ready","host":"elsewhere"}}`: {OK: true},
		`{"httpGet":{"port":1,"path":"/live"}}`:                     {Message: "HTTP probe failed with statuscode: 503"},
	} {
		if got := ask(handler); got != want {
			t.Errorf("%s: %+v, want %+v", handler, got, want)
		}
	}
	socket.Close()
	if got := ask(`{"tcpSocket":{"port":1}}`); got.OK || got.Unknown || got.Message != "dial tcp "+netip.AddrPortFrom(at, port).String()+": connect: connection refused" {
		t.Errorf("a closed port: %+v", got)
	}
}

func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	t.Fatalf("this test needs an IPv4 address besides the loopback's, there is: %v", list)
	return netip.Addr{}
}
