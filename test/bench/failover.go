package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/host/netns"
)

const (
	announcedSpace = "announced"
	// settled is how long an address has been where it is before the next fault.
	settled = 3 * time.Second
)

// moving is a lab of three nodes with an address that one of them announces. What answers behind it is on no node: a server in the
// network that joins them, so that nothing is lost but what the address loses.
type moving struct {
	*cluster
	to netip.AddrPort
}

// failover measures how long clients outside do without an announced address when the node that announces it fails, and how many of
// their connections fail meanwhile.
func (o options) failover(ctx context.Context, runs int) (rows []row, err error) {
	m := moving{}
	if m.cluster, err = newCluster(ctx, o, "--nodes", "3", "--lb-pool", "auto", "--ingress=false"); err != nil {
		return nil, err
	}
	defer m.down(context.WithoutCancel(ctx))
	server, err := m.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	soon := func(gone time.Duration, _ int) budget { return atMost(3*time.Second, gone) }
	for _, fault := range []struct {
		what string
		do   func(node string) (mend func() error, err error)
		held func(gone time.Duration, failed int) budget
	}{
		{"its link cut", m.cut, soon},
		{"its agent killed by -9", m.kill(syscall.SIGKILL), soon},
		{"its agent ended by -TERM", m.kill(syscall.SIGTERM), func(_ time.Duration, failed int) budget { return held("none failed", failed == 0) }},
	} {
		var gone []time.Duration
		var all gaps
		for range runs {
			g, err := m.fail(ctx, fault.do)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", fault.what, err)
			}
			gone = append(gone, g.longest)
			all.tried, all.failed = all.tried+g.tried, all.failed+g.failed
		}
		rows = append(rows, row{"longest time between two connections to an announced address, the node that announces it: " + fault.what,
			spread(gone), fmt.Sprintf("%d of %d connections failed; a new one 1 ms after the last, given up after 100 ms, and asked four times a second who has the address", all.failed, all.tried), fault.held(median(gone), all.failed)})
	}
	return rows, nil
}

// serve starts what answers, makes the Service of it, and waits until that answers at its address.
func (m *moving) serve(ctx context.Context) (*http.Server, error) {
	nodes, err := m.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		return nil, fmt.Errorf("list nodes: %d, %w", len(nodes.Items), err)
	}
	inside, err := netip.ParseAddr(nodes.Items[0].Status.Addresses[0].Address)
	if err != nil {
		return nil, err
	}
	b := inside.As4()
	b[3] = 2 // the fabric's own
	at := netip.AddrPortFrom(netip.AddrFrom4(b), 8099)
	var l net.Listener
	if err := netns.Do(m.fabric(), func() error { l, err = new(net.ListenConfig).Listen(ctx, "tcp", at.String()); return err }); err != nil {
		return nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") })}
	go server.Serve(l)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: announcedSpace}}
	if _, err := m.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return server, err
	}
	slice := plainSlice("web", at.Addr().String())
	slice.Namespace = announcedSpace
	slice.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(at.Port()))}}
	if _, err := m.client.DiscoveryV1().EndpointSlices(announcedSpace).Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		return server, err
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	if _, err := m.client.CoreV1().Services(announcedSpace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return server, err
	}
	for !m.to.IsValid() {
		got, err := m.client.CoreV1().Services(announcedSpace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return server, err
		}
		if in := got.Status.LoadBalancer.Ingress; len(in) > 0 {
			m.to = netip.AddrPortFrom(netip.MustParseAddr(in[0].IP), 80)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return server, answer(ctx, "http://"+m.to.String())
}

func (m *moving) fabric() string { return filepath.Join(m.dir, "netns", "fabric") }

// fail has the node that announces the address fail while a client connects again and again, waits until that succeeds, and mends it.
func (m *moving) fail(ctx context.Context, fault func(node string) (mend func() error, err error)) (gaps, error) {
	if err := m.rest(ctx); err != nil {
		return gaps{}, err
	}
	node, err := m.announcer(ctx)
	if err != nil {
		return gaps{}, err
	}
	stop, seen := make(chan struct{}), make(chan gaps, 1)
	go func() { seen <- knock(stop, m.connects) }()
	go m.forget(stop)
	time.Sleep(100 * time.Millisecond)
	mend, err := fault(node)
	if err == nil {
		time.Sleep(settled)
		err = m.rest(ctx)
	}
	close(stop)
	g := <-seen
	if mend != nil {
		err = errors.Join(err, mend())
	}
	return g, err
}

// forget has this host ask anew who has the address, four times a second: a kernel that knows it keeps sending to a node whose agent is
// gone, whose rules go on, and would show nothing of that.
func (m *moving) forget(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / 4)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			exec.Command("ip", "neigh", "flush", "to", m.to.Addr().String()).Run() // what fails is done again
		}
	}
}

// rest waits until the address has answered for a while without a pause.
func (m *moving) rest(ctx context.Context) error {
	for since := time.Now(); ctx.Err() == nil && time.Since(since) < settled; time.Sleep(10 * time.Millisecond) {
		if m.connects() != nil {
			since = time.Now()
		}
	}
	return ctx.Err()
}

// connects connects to the address once.
func (m *moving) connects() error {
	c, err := net.DialTimeout("tcp", m.to.String(), 100*time.Millisecond)
	if err == nil {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	return err
}

// announcer is the node whose hardware address this host knows the address by.
func (m *moving) announcer(ctx context.Context) (string, error) {
	entry, err := exec.CommandContext(ctx, "ip", "neigh", "show", m.to.Addr().String()).Output()
	if err != nil {
		return "", fmt.Errorf("ip neigh: %w", err)
	}
	words := strings.Fields(string(entry))
	at := slices.Index(words, "lladdr")
	if at < 0 || at+1 == len(words) {
		return "", fmt.Errorf("nobody is known to have %s: %q", m.to.Addr(), entry)
	}
	for _, node := range []string{"node1", "node2", "node3"} {
		var mac []byte
		err := netns.Do(filepath.Join(m.dir, "netns", node), func() error {
			link, err := net.InterfaceByName("eth0")
			if err == nil {
				mac = link.HardwareAddr
			}
			return err
		})
		if err != nil {
			return "", err
		}
		if net.HardwareAddr(mac).String() == words[at+1] {
			return node, nil
		}
	}
	return "", fmt.Errorf("no node has %s", words[at+1])
}

// cut takes a node off the network.
func (m *moving) cut(node string) (mend func() error, err error) {
	set := func(to string) error {
		cmd := exec.Command("ip", "link", "set", node, to)
		err := netns.Start(m.fabric(), cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			return fmt.Errorf("set link of %s %s: %w", node, to, err)
		}
		return nil
	}
	return func() error { return set("up") }, set("down")
}

// kill sends a signal to a node's agent, which the lab starts again.
func (m *moving) kill(signal syscall.Signal) func(node string) (func() error, error) {
	return func(node string) (func() error, error) {
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return nil, err
		}
		for _, file := range all {
			text, err := os.ReadFile(file)
			args := strings.Split(string(text), "\x00")
			if err != nil || len(args) < 2 || args[1] != "agent" || !strings.Contains(string(text), m.dir) || !slices.Contains(args, node) {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return nil, err
			}
			return nil, syscall.Kill(pid, signal)
		}
		return nil, fmt.Errorf("no agent of %s runs", node)
	}
}
