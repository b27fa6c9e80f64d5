package l7

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// TestWhatClientsMayNotSay: headers that lead a backend past a rule, or to believe what the engine has not said, do not arrive.
func TestWhatClientsMayNotSay(t *testing.T) {
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-User", "ann") }))
	defer guard.Close()
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	edit := route.HeaderEdit{Set: []route.Header{{Name: "X-Role", Value: "guest"}}, Remove: []string{"X-Secret"}}
	asked := route.Action{External: &route.ExternalAuth{URL: guard.URL, Copy: []string{"X-User"}}, Request: edit}
	r.Serve(table(prefixed("/plain", route.Action{}), prefixed("/edited", route.Action{Request: edit}), prefixed("/asked", asked)))
	addr := r.listen(web)
	for _, c := range []struct {
		name, path, header string
		has, hasNot        []string // lower case
	}{
		{"h2c", "/plain", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA", nil, []string{"upgrade", "h2c", "http2-settings"}},
		{"h2c among others", "/plain", "Connection: Upgrade\r\nUpgrade: websocket, H2C, foo/1", []string{"upgrade: websocket, foo/1\r"}, []string{"h2c"}},
		{"HTTP and TLS", "/plain", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\nUpgrade: TLS/1.2", nil, []string{"upgrade"}},
		{"forwarded with _", "/plain", "X_Forwarded_For: 6.6.6.6\r\nx_real-ip: 6.6.6.6\r\nX-Forwarded_Proto: gopher\r\nmy_own: kept",
			[]string{"my_own: kept", "x-forwarded-for: 127.0.0.1"}, []string{"6.6.6.6", "gopher"}},
		{"edited with _", "/edited", "X_Role: admin\r\nX_Secret: forged", []string{"x-role: guest"}, []string{"admin", "forged"}},
		{"authorized with _", "/asked", "X_User: root\r\nX_Role: admin", []string{"x-user: ann"}, []string{"root", "admin"}},
		{"dropped by Connection", "/asked", "Connection: close, X-User, X-Forwarded-For, X-Role",
			[]string{"x-user: ann", "x-forwarded-for: 127.0.0.1", "x-role: guest"}, []string{"connection"}},
		{"upgrade after a yes", "/asked", "X-Gone: 1\r\nConnection: Upgrade, X-User, X-Gone\r\nUpgrade: websocket",
			[]string{"x-user: ann", "upgrade: websocket"}, []string{"x-gone"}},
	} {
		text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", c.path, c.header)
		got := strings.ToLower(raw(t, addr, text, "GET")[0])
		ok := strings.HasPrefix(got, "200 ")
		for _, want := range c.has {
			ok = ok && strings.Contains(got, want)
		}
		for _, bad := range c.hasNot {
			ok = ok && !strings.Contains(got, bad)
		}
		if !ok {
			t.Errorf("%s: with %q and without %q wanted; the backend got\n%s", c.name, c.has, c.hasNot, got)
		}
	}
}

// TestBodiesThatAreNone: what is wrong with a request's body is told its client, and is not the endpoint's fault.
func TestBodiesThatAreNone(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	for _, body := range []string{"0x5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\nhello\n0\n\n", "fffffffffffffffff\r\n"} {
		got := raw(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body, "POST")[0]
		if !strings.HasPrefix(got, "400 ") {
			t.Errorf("%q: %s", body, got)
		}
	}
}
