package external

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/internal/netlab"
	nodeprobe "fairlead.dev/fairlead/node/probe"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// patience is how long a test waits for something that should take a second or two.
const patience = 30 * time.Second

// TestMain runs the tests in a network namespace of their own, whose loopback carries the addresses that are outside of the
// cluster: all of 192.0.2.0/24 and 198.18.0.0/16; and those of the nodes in 10.88.0.0/24.
func TestMain(m *testing.M) {
	netlab.Main(m, func(lo netlink.Link) (err error) {
		for _, prefix := range []string{"192.0.2.1/24", "198.18.0.1/16", "10.88.0.1/24"} {
			addr, parse := netlink.ParseAddr(prefix)
			if err = errors.Join(err, parse); err == nil {
				err = netlink.AddrAdd(lo, addr)
			}
		}
		return err
	})
}

// lab is a real API server with the endpoints controllers and nodes n1 and n2, whose agents only probe.
type lab struct {
	rest   *rest.Config
	client kubernetes.Interface
	ca     *pki.Authority
	agents map[string]*agent
	serial atomic.Int32
}

func startLab(t *testing.T) *lab {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	l := &lab{rest: server.ClientConfig(), ca: cfg.CA, agents: map[string]*agent{}}
	l.rest.WarningHandler = rest.NoWarnings{}
	l.client = l.connect(t)
	for i, name := range []string{"n1", "n2"} {
		a := &agent{lab: l, name: name, at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 88, 0, byte(11 + i)}), 10250)}
		a.start(t)
		l.agents[name] = a
		node, err := l.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: a.at.Addr().String()}}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(a.at.Port())
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		if _, err := l.client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *lab) connect(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(l.rest)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// run starts the controllers as the program does, and returns a function that stops them.
func (l *lab) run(t *testing.T) (stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(l.client, 0)
	return apitest.Control(t, shared,
		New(l.client, shared, Agents(peer.NewAsker(l.caller(t), l.ca.Pool(), healthcheck.MaxInFlight)), nil, slog.New(slog.DiscardHandler)).Run,
		endpoints.New(l.client, shared, nil, slog.New(slog.DiscardHandler)).Run)
}

// caller is who the control plane is towards agents.
func (l *lab) caller(t *testing.T) *pki.Source {
	t.Helper()
	source, err := l.ca.Source(peer.Caller())
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func (l *lab) issue(t *testing.T, r pki.Request) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := l.ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// agent serves what a node's agent serves of this.
type agent struct {
	lab                      *lab
	name                     string
	at                       netip.AddrPort
	asked, connections, busy atomic.Int32
	most                     atomic.Int32 // questions at the same time
	stop                     func()
}

func (a *agent) start(t *testing.T) {
	t.Helper()
	cert := a.lab.issue(t, join.ServingIdentity(a.name, []netip.Addr{a.at.Addr()}))
	socket := listen(t, a.at)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+probe.Path, func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		for now := a.busy.Add(1); ; {
			if most := a.most.Load(); now <= most || a.most.CompareAndSwap(most, now) {
				break
			}
		}
		defer a.busy.Add(-1)
		nodeprobe.Serve(w, r)
	})
	server := &http.Server{
		Handler:   mux,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.lab.ca.Pool()},
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				a.connections.Add(1)
			}
		},
	}
	go server.ServeTLS(socket, "", "")
	a.stop = func() { server.Close() }
	t.Cleanup(a.stop)
}

func listen(t *testing.T, at netip.AddrPort) net.Listener {
	t.Helper()
	var socket net.Listener
	until(t, func() (bool, string) { // a port that was just closed may be in use for a moment
		var err error
		socket, err = net.Listen("tcp", at.String())
		return err == nil, fmt.Sprint(err)
	})
	return socket
}

// serve accepts connections until the returned function is called.
func serve(t *testing.T, at string) (stop func()) {
	t.Helper()
	socket := listen(t, netip.MustParseAddrPort(at))
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	stop = func() { socket.Close() }
	t.Cleanup(stop)
	return stop
}

// until waits for a condition.
func until(t *testing.T, f func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, last := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s; last: %s", patience, last)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test is over")
		}
	}
}

// space is a namespace of one test with the Service db.
type space struct {
	*lab
	name string
}

func (l *lab) space(t *testing.T, annotations ...string) *space {
	t.Helper()
	s := &space{l, fmt.Sprint("t", l.serial.Add(1))}
	if _, err := l.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc := service(annotations...)
	svc.Namespace = s.name
	if _, err := l.client.CoreV1().Services(s.name).Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// apply writes the Endpoints anew, as kubectl apply does: our annotation stays.
func (s *space) apply(t *testing.T, ep *corev1.Endpoints) {
	t.Helper()
	client := s.client.CoreV1().Endpoints(s.name)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := client.Get(t.Context(), "db", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = client.Create(t.Context(), ep, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		now.Subsets = ep.Subsets
		_, err = client.Update(t.Context(), now, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// service changes the Service.
func (s *space) service(t *testing.T, change func(*corev1.Service)) {
	t.Helper()
	client := s.client.CoreV1().Services(s.name)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		svc, err := client.Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(svc)
		_, err = client.Update(t.Context(), svc, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// now shows the Endpoints in the notation of object.
func (s *space) now(t *testing.T) string {
	t.Helper()
	ep, err := s.client.CoreV1().Endpoints(s.name).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	return show(healthcheck.View{Endpoints: ep}, healthcheck.Ejected(ep))
}

// becomes waits for the Endpoints, and for the slices of the Service that proxies read.
func (s *space) becomes(t *testing.T, want string) {
	t.Helper()
	until(t, func() (bool, string) { got := s.now(t); return got == want, got })
	addresses, _, _ := strings.Cut(want, "|")
	until(t, func() (bool, string) {
		list, err := s.client.DiscoveryV1().EndpointSlices(s.name).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=db"})
		if err != nil {
			return false, err.Error()
		}
		var all []*discoveryv1.EndpointSlice
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
		got, _, _ := strings.Cut(show(healthcheck.View{Slices: all}, nil), "|")
		return got == addresses, got
	})
}

// told waits for an event of the Service.
func (s *space) told(t *testing.T, kind, reason, text string) {
	t.Helper()
	until(t, func() (bool, string) {
		events := s.events(t)
		return slices.Contains(events, kind+" "+reason+" "+text), strings.Join(events, "\n")
	})
}

func (s *space) events(t *testing.T) []string {
	t.Helper()
	list, err := s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Name == "db" {
			lines = append(lines, e.Type+" "+e.Reason+" "+e.Message)
		}
	}
	return lines
}
