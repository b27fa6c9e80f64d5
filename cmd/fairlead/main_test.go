package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/cluster/kubeconfig"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/pki"
)

// asProgram in the environment makes the test's own executable be the program, so that tests can run it in another network
// namespace as a process of its own.
const asProgram = "FAIRLEAD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// far is an API server and a network namespace without any way to it but a relay that the test opens and closes.
type far struct {
	t          *testing.T
	space      *netlab.Netns
	client     kubernetes.Interface
	kubeconfig string
	server     netip.AddrPort

	mu    sync.Mutex
	relay net.Listener
	conns []net.Conn
}

// newFar starts the API server with the given ranges for Services, or its usual one.
func newFar(t *testing.T, ranges ...string) *far {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	for i, text := range ranges {
		if i == 0 {
			cfg.ServiceCIDRs, cfg.ClusterDNS = nil, nil
		}
		cfg.ServiceCIDRs = append(cfg.ServiceCIDRs, netip.MustParsePrefix(text))
		cfg.ClusterDNS = append(cfg.ClusterDNS, netip.MustParsePrefix(text).Addr().Next().Next())
	}
	server, _ := apitest.Run(t, cfg)
	f := &far{t: t, space: netlab.New(t, "n1"), server: cfg.Bind, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	var err error
	if f.client, err = kubernetes.NewForConfig(server.ClientConfig()); err != nil {
		t.Fatal(err)
	}
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: partUser, Client: true})
	if err == nil {
		err = kubeconfig.Entry{Name: "far", Server: "https://" + cfg.Bind.String(), CA: cfg.CA.CertPEM(), Cert: cert, Key: key}.Write(f.kubeconfig)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.cut)
	return f
}

// partUser is who the kubeconfig says that a part is, which may do nothing before it is granted.
const partUser = "part"

// grant lets a part do what rules allow.
func (f *far) grant(rules ...rbacv1.PolicyRule) {
	f.t.Helper()
	ctx, rbac := f.t.Context(), f.client.RbacV1()
	_, err := rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: partUser}, Rules: rules}, metav1.CreateOptions{})
	if err == nil {
		_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: partUser}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: partUser},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: partUser}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// proxyRights are those that the manifest gives a proxy.
func proxyRights(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile("../../docs/manifests/fairlead-proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind == "ClusterRole" {
			return role.Rules
		}
	}
	t.Fatal("the manifest has no ClusterRole")
	return nil
}

// dnsRights are those that docs/proxy-alone.md says a name server needs.
func dnsRights() []rbacv1.PolicyRule {
	verbs := []string{"list", "watch"}
	return []rbacv1.PolicyRule{
		{Verbs: verbs, APIGroups: []string{""}, Resources: []string{"services", "namespaces"}},
		{Verbs: verbs, APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}},
	}
}

// open lets the namespace reach the API server.
func (f *far) open() {
	f.t.Helper()
	f.space.Do(func() {
		l, err := net.Listen("tcp", f.server.String())
		if err != nil {
			f.t.Errorf("relay: %v", err)
			return
		}
		f.mu.Lock()
		f.relay = l
		f.mu.Unlock()
		go f.carry(l)
	})
}

func (f *far) carry(l net.Listener) {
	for {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", f.server.String())
		if err != nil {
			a.Close()
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, a, b)
		f.mu.Unlock()
		for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
			go func() {
				io.Copy(pair[0], pair[1])
				pair[0].Close()
			}()
		}
	}
}

// cut takes the way to the API server away, with all connections on it.
func (f *far) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.relay != nil {
		f.relay.Close()
		f.relay = nil
	}
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// process is the program, running in the namespace.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

func (f *far) start(args ...string) *process {
	f.t.Helper()
	p := &process{t: f.t, cmd: exec.Command(os.Args[0], args...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), asProgram+"=yes")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	var err error
	f.space.Do(func() { err = p.cmd.Start() })
	if err != nil {
		f.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	f.t.Cleanup(func() {
		p.cmd.Process.Kill()
		if f.t.Failed() {
			<-p.done
			f.t.Logf("%v:\n%s", args, p.out.String())
		}
	})
	return p
}

// end waits for the end of the process and returns what it said.
func (p *process) end() (string, error) {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return p.out.String(), err
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%v does not end", p.cmd.Args)
		return "", nil
	}
}

// stop asks the process to end, as systemd and the kubelet do.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	if out, err := p.end(); err != nil {
		p.t.Errorf("after SIGTERM: %v\n%s", err, out)
	}
}

// page gets a page from inside the namespace.
func (f *far) page(url string) (code int, text string) {
	f.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			f.space.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
			return conn, err
		}}}
	r, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	return r.StatusCode, string(body)
}

func (f *far) eventually(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// node puts this node into the cluster, with its InternalIPs.
func (f *far) node(ips ...string) {
	f.t.Helper()
	nodes := f.client.CoreV1().Nodes()
	n, err := nodes.Create(f.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24"}}}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n1"}}
	for _, ip := range ips {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	if _, err := nodes.UpdateStatus(f.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// service puts a Service with its endpoints into the cluster and returns its first address. It prefers both families.
func (f *far) service(name string, pods ...string) string {
	f.t.Helper()
	s, err := f.client.CoreV1().Services("default").Create(f.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicyPreferDualStack)}}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	for i, pod := range pods {
		e := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(name, "-", i), Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](8080)}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{pod}, NodeName: ptr.To("n1")}}}
		if netip.MustParseAddr(pod).Is6() {
			e.AddressType = discoveryv1.AddressTypeIPv6
		}
		if _, err := f.client.DiscoveryV1().EndpointSlices("default").Create(f.t.Context(), e, metav1.CreateOptions{}); err != nil {
			f.t.Fatal(err)
		}
	}
	return s.Spec.ClusterIP
}

// has fails unless the text contains each part.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in\n%s", p, text)
		}
	}
}

// port80 is a Service's address as a connection's target.
func port80(ip string) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprint(ip, ":80"))
}
