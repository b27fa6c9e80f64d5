package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/pki"
)

const open = "0123456789abcdef-open-sesame"

var (
	nodeAddr = []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
	cluster  = config.Networking{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Services: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, DNS: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local"}
	mine     = strings.Repeat("s", 16)
)

// site is a server that machines join.
type site struct {
	*Handler
	url string
}

// serve runs the handler behind a certificate of its own authority, as the API server does.
func serve(t *testing.T, secret string) site {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := NewHandler(Config{
		CA: ca, Secret: func() (string, error) { return secret, nil }, Networking: cluster, Dir: t.TempDir(),
		Claims: claim.Cluster{Pods: cluster.Pods, Services: cluster.Services, API: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Names: []string{"api-host"}, Domain: "cluster.local", Own: "cp"},
	})
	h.Open(Cluster{Nodes: func(context.Context) ([]*corev1.Node, error) {
		return []*corev1.Node{{
			ObjectMeta: metav1.ObjectMeta{Name: "other"},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.9"}}},
		}}, nil
	}})
	return site{h, behind(t, h, ca, pki.APIServer)}
}

// behind serves a handler with a certificate of the given name, and the authority's own.
func behind(t *testing.T, h http.Handler, ca *pki.Authority, name string) string {
	t.Helper()
	certPEM, keyPEM, err := ca.Issue(pki.Request{CommonName: name, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(append(certPEM, ca.CertPEM()...), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(Path, h)
	srv := httptest.NewUnstartedServer(mux)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

func (s site) machine(name string) Machine {
	return Machine{Server: s.url, Name: name, Secret: mine, Addrs: nodeAddr}
}

func TestJoin(t *testing.T) {
	s := serve(t, open)
	got, err := s.machine("node1").Join(t.Context(), Token(s.CA, open))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Networking, cluster) {
		t.Errorf("cluster %+v", got.Networking)
	}
	if c := got.Client.Current().Leaf; c.Subject.CommonName != "system:node:node1" || c.Subject.Organization[0] != "system:nodes" {
		t.Errorf("client certificate of %v", c.Subject)
	}
	serving := got.Serving.Current().Leaf
	if !slices.Equal(serving.DNSNames, []string{"node1"}) || len(serving.IPAddresses) != 2 {
		t.Errorf("serving certificate for %v, %v", serving.DNSNames, serving.IPAddresses)
	}
}

// TestWrongClocks: whoever joins, or is joined, with a clock that is days off is told of the clocks, on either side.
func TestWrongClocks(t *testing.T) {
	s := serve(t, open)
	member, err := s.machine("node1").Join(t.Context(), Token(s.CA, open))
	if err != nil {
		t.Fatal(err)
	}
	for what, by := range map[string]time.Duration{"begins at": 48 * time.Hour, "has ended at": -2 * 365 * 24 * time.Hour} {
		s.CA.Now = func() time.Time { return time.Now().Add(by) }
		server := behind(t, s.Handler, s.CA, pki.APIServer) // certified by that clock
		s.CA.Now = time.Now
		other := s.machine("node2")
		other.Server = server
		if _, err := other.Join(t.Context(), Token(s.CA, open)); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "wrong clock") {
			t.Errorf("a server off by %s: %v", by, err)
		}
	}
	s.CA.Now = func() time.Time { return time.Now().Add(2 * 365 * 24 * time.Hour) } // the server's own
	if err := member.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "wrong clock") {
		t.Errorf("a server that lives in two years: %v", err)
	}
}

func TestJoinRefusals(t *testing.T) {
	s, other := serve(t, open), serve(t, open)
	right := Token(s.CA, open)
	if _, err := s.machine("node1").Join(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ token, node, secret, addr, want string }{
		"wrong secret":             {Token(s.CA, "guess-guess-guess"), "node2", mine, "", "wrong token"},
		"another authority":        {Token(other.CA, open), "node2", mine, "", "not the one the token names"},
		"not a token":              {"hello", "node2", mine, "", "token: must be"},
		"a token without secret":   {Token(s.CA, ""), "node2", mine, "", "token: must be"},
		"name taken":               {right, "node1", strings.Repeat("x", 16), "", "another machine joined"},
		"name in capitals":         {right, "NODE1", mine, "", "node name"},
		"a path":                   {right, "../etc", mine, "", "node name"},
		"a name of the API":        {right, "kubernetes.default.svc", mine, "", "the cluster itself"},
		"localhost":                {right, "localhost", mine, "", "the cluster itself"},
		"the API server's host":    {right, "api-host", mine, "", "the cluster itself"},
		"the control plane":        {right, "cp", mine, "", "control plane's own"},
		"no secret":                {right, "node2", "", "", "secret is missing or too short"},
		"a Service's address":      {right, "node2", mine, "10.96.0.1", "range of the cluster"},
		"a pod's address":          {right, "node2", mine, "10.244.1.2", "range of the cluster"},
		"the API's address":        {right, "node2", mine, "192.0.2.1", "API server's"},
		"the API's, mapped":        {right, "node2", mine, "::ffff:192.0.2.1", "API server's"},
		"another node's address":   {right, "node2", mine, "192.0.2.9", "node other's"},
		"a loopback address":       {right, "node2", mine, "127.0.0.1", "loopback"},
		"no address in particular": {right, "node2", mine, "0.0.0.0", "unspecified"},
		"a link-local address":     {right, "node2", mine, "169.254.169.254", "link-local"},
	} {
		m := s.machine(c.node)
		m.Secret = c.secret
		if c.addr != "" {
			m.Addrs = []netip.Addr{netip.MustParseAddr(c.addr)}
		}
		if _, err := m.Join(t.Context(), c.token); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	for _, addrs := range [][]netip.Addr{nil, {nodeAddr[0], nodeAddr[0]}, {nodeAddr[0], nodeAddr[1], nodeAddr[1]}, {{}}} {
		m := s.machine("node2")
		m.Addrs = addrs
		if _, err := m.Join(t.Context(), right); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("addresses %v: %v", addrs, err)
		}
	}
	if _, err := s.machine("node1").Join(t.Context(), right); err != nil {
		t.Errorf("the same machine again: %v", err)
	}
	if files, _ := os.ReadDir(s.Dir); len(files) != 1 {
		t.Errorf("those who were refused left files: %v", files)
	}
}

// forge sends a join as any program may, and returns the status.
func (s site) forge(t *testing.T, body []byte, authorization ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+Path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"] = authorization
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// request is a join that is right but for what authorizes it.
func request(t *testing.T, node string) []byte {
	t.Helper()
	csr, _, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(Request{Node: node, NodeSecret: mine, Addrs: nodeAddr, ClientCSR: csr, ServingCSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestNoShortOrMissingTokenAdmits(t *testing.T) {
	for _, secret := range []string{"", " ", "short", "fifteen-letters"} {
		s := serve(t, secret)
		for _, authorization := range [][]string{nil, {""}, {"Bearer "}, {"Bearer"}, {"Bearer " + secret}, {secret}} {
			if code, text := s.forge(t, request(t, "node1"), authorization...); code == http.StatusOK {
				t.Errorf("token %q, Authorization %q: admitted: %s", secret, authorization, text)
			}
		}
	}
}

func TestOnlyTheBearerSchemeAdmits(t *testing.T) {
	s := serve(t, open)
	for _, authorization := range [][]string{
		nil, {""}, {open}, {"Bearer"}, {"Bearer "}, {"bearer " + open}, {"Bearer  " + open}, {"Basic " + open}, {"BearerBearer " + open},
		{"Bearer " + open + " x"}, {"Bearer " + open[:len(open)-1]}, {"Bearer " + open, "Bearer x"}, {"Bearer x", "Bearer " + open}, {"Bearer " + strings.ToUpper(open)},
	} {
		if code, text := s.forge(t, request(t, "node1"), authorization...); code != http.StatusUnauthorized {
			t.Errorf("Authorization %q: %d %s", authorization, code, text)
		}
	}
	if code, text := s.forge(t, request(t, "node1"), "Bearer "+open); code != http.StatusOK {
		t.Errorf("the right one: %d %s", code, text)
	}
}

func TestARequestIsBounded(t *testing.T) {
	s := serve(t, open)
	large := fmt.Appendf(nil, `{"node":%q}`, strings.Repeat("x", maxRequest))
	for name, body := range map[string][]byte{"large": large, "nothing": nil, "a list": []byte("[]"), "no CSR": []byte(`{"node":"n1","nodeSecret":"` + mine + `","addrs":["192.0.2.2"]}`)} {
		if code, _ := s.forge(t, body, "Bearer "+open); code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, code)
		}
	}
	for range joinsAtOnce + 1 { // what a loop gone wild uses up
		s.pace.TryAccept()
	}
	if code, _ := s.forge(t, request(t, "node1"), "Bearer "+open); code != http.StatusTooManyRequests {
		t.Errorf("too many at once: %d", code)
	}
}

func TestOneOfTwoMachinesGetsAName(t *testing.T) {
	s := serve(t, open)
	for round := range 10 {
		name, won := fmt.Sprintf("node%d", round), 0
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range 8 {
			wg.Go(func() {
				m := s.machine(name)
				m.Secret = strings.Repeat(string(rune('a'+i)), 16)
				if _, err := m.Join(t.Context(), Token(s.CA, open)); err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d machines became %s", won, name)
		}
	}
}

func TestADamagedClaimAdmitsNobody(t *testing.T) {
	s := serve(t, open)
	if err := os.WriteFile(filepath.Join(s.Dir, "node1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.machine("node1").Join(t.Context(), Token(s.CA, open)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("an empty claim: %v", err)
	}
}

func TestANodeDoesNotPassForTheAPIServer(t *testing.T) {
	s := serve(t, open)
	s.url = behind(t, s.Handler, s.CA, "system:node:evil")
	if _, err := s.machine("node1").Join(t.Context(), Token(s.CA, open)); err == nil || !strings.Contains(err.Error(), "in place of the API server") {
		t.Errorf("a node's certificate was taken for the API server's: %v", err)
	}
}

func TestBeforeItIsOpenMachinesComeAgain(t *testing.T) {
	s := serve(t, open)
	s.Open(Cluster{})
	if _, err := s.machine("node1").Join(t.Context(), Token(s.CA, open)); !errors.Is(err, ErrLater) {
		t.Errorf("%v", err)
	}
}

func TestRenew(t *testing.T) {
	s := serve(t, open)
	m, err := s.machine("node1").Join(t.Context(), Token(s.CA, open))
	if err != nil {
		t.Fatal(err)
	}
	first, firstServing := m.Client.Current().Leaf, m.Serving.Current().Leaf
	s.CA.Now = func() time.Time { return time.Now().Add(300 * 24 * time.Hour) }
	if err := m.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]*x509.Certificate{{first, m.Client.Current().Leaf}, {firstServing, m.Serving.Current().Leaf}} {
		if pair[1].NotAfter.Sub(pair[0].NotAfter) < 200*24*time.Hour || pair[0].Subject.String() != pair[1].Subject.String() {
			t.Errorf("the certificate of %s ended %s; the one of %s ends %s", pair[0].Subject, pair[0].NotAfter, pair[1].Subject, pair[1].NotAfter)
		}
	}
	wrong := func(change func(*Member)) error {
		other := *m
		change(&other)
		return other.Renew(t.Context())
	}
	for want, err := range map[string]error{
		"the certificate is node":  wrong(func(m *Member) { m.Name = "node2" }),
		"another machine joined":   wrong(func(m *Member) { m.Secret = strings.Repeat("x", 16) }),
		"range of the cluster":     wrong(func(m *Member) { m.Addrs = []netip.Addr{netip.MustParseAddr("10.96.0.1")} }),
		"is not of this cluster":   foreign(t, *m, pki.Request{CommonName: "system:node:node1", Organizations: []string{"system:nodes"}, Client: true}, nil),
		"is not a node's":          foreign(t, *m, pki.Request{CommonName: "system:node:node1", Client: true}, s.CA),
		"of this cluster, or has ": foreign(t, *m, ServingIdentity("node1", nil), s.CA),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := os.Remove(filepath.Join(s.Dir, "node1")); err != nil {
		t.Fatal(err)
	}
	if err := m.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "not known any more") {
		t.Errorf("of a node that was removed: %v", err)
	}
}

// foreign asks for a renewal with a certificate of another kind, or of another authority.
func foreign(t *testing.T, m Member, who pki.Request, ca *pki.Authority) error {
	t.Helper()
	if ca == nil {
		var err error
		if ca, err = pki.LoadOrCreate(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if m.Client, err = ca.Source(who); err != nil {
		t.Fatal(err)
	}
	return m.Renew(t.Context())
}
