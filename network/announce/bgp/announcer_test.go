package bgp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/network/world"
)

// note is what a test tells an announcer's process: objects, the password that Secrets have from now on, or a question.
type note struct {
	Node     *corev1.Node
	Service  *corev1.Service
	Slice    *discoveryv1.EndpointSlice
	Pool     *kinds.AddressPool
	Peer     *kinds.BGPPeer
	Gone     *kinds.BGPPeer
	Password *string
	Ask      bool
}

// announceWorld runs a node's Announcer on a World that is told line by line. When in ends it takes leave.
func announceWorld(in io.Reader, out io.Writer) {
	var mu sync.Mutex
	password := ""
	w := world.New()
	a := New(Config{NodeName: "n0", Password: func(_ context.Context, secret string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if password == "" {
			return "", errors.New("secret kube-system/" + secret + " not found")
		}
		return password, nil
	}}, w, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	w.MarkSynced()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var n note
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			panic(err)
		}
		if n.Password != nil {
			mu.Lock()
			password = *n.Password
			mu.Unlock()
		}
		switch {
		case n.Node != nil:
			w.Put(n.Node)
		case n.Service != nil:
			w.Put(n.Service)
		case n.Slice != nil:
			w.Put(n.Slice)
		case n.Pool != nil:
			w.Put(n.Pool)
		case n.Peer != nil:
			w.Put(n.Peer)
		case n.Gone != nil:
			w.Delete(n.Gone)
		case n.Ask:
			_ = json.NewEncoder(out).Encode(a.Routers())
		}
	}
	stop()
	<-done
}

// world tells the announcer of a node.
func (n *node) world(notes ...note) {
	n.t.Helper()
	for _, what := range notes {
		if err := json.NewEncoder(n.in).Encode(what); err != nil {
			n.t.Fatal(err)
		}
	}
}

// From objects to the router: no password, no session, and the reason; then an address is announced as long as its Service has an
// endpoint, to a router that is told of its pool, and forgotten with the BGPPeer.
func TestAnnouncer(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, `password "open sesame";`))
	n := l.nodes[0]
	n.launch("announcer")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: vip4.Addr().String()}}
	endpoint := func(on string) note {
		return note{Slice: &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv4,
			Ports:     []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(80)), Protocol: ptr.To(corev1.ProtocolTCP)}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.2"}, NodeName: ptr.To(on), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		}}
	}
	tor := &kinds.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: kinds.BGPPeerSpec{
		PeerAddress: "192.0.2.1", PeerPort: 179, PeerASN: 64512, LocalASN: 64513, PasswordSecret: &kinds.PasswordSecret{Name: "tor"}, Pools: []kinds.BGPPeerPool{{Name: "lan"}},
	}}
	n.world(
		note{Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n0"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}}}}},
		note{Pool: &kinds.AddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: kinds.AddressPoolSpec{Addresses: []string{"203.0.113.0/28"}}}},
		note{Service: svc}, endpoint("n0"),
	)
	if out, err := n.space.Command("ss", "-Hntuap"); err != nil || strings.Contains(out, ":179") {
		t.Errorf("without a BGPPeer there are connections: %v %s", err, out)
	}
	n.world(note{Peer: tor})
	n.routers(`tor false 0 no password: secret kube-system/tor not found`)
	n.world(note{Password: ptr.To("open sesame")}, note{Peer: changed(tor, 60)})
	r.routed(vip4.String(), "192.0.2.2")
	n.routers("tor true 1 ")
	n.world(endpoint("n1"))
	r.routed(vip4.String())
	n.world(endpoint("n0"))
	r.routed(vip4.String(), "192.0.2.2")
	n.world(note{Gone: tor})
	r.routed(vip4.String())
	n.routers("")
	n.stop()
}

// changed is a BGPPeer with another hold time.
func changed(p *kinds.BGPPeer, hold int32) *kinds.BGPPeer {
	c := p.DeepCopy()
	c.Spec.HoldTimeSeconds = &hold
	return c
}

// routers waits until the announcer says of its routers what is wanted.
func (n *node) routers(want string) {
	n.t.Helper()
	got := "nothing"
	for range 400 {
		n.world(note{Ask: true})
		answer := <-n.answers
		var all []string
		for _, a := range answer {
			all = append(all, fmt.Sprintf("%v %v %v %v", a["peer"], a["established"], a["routes"], orNothing(a["reason"])))
		}
		if got = strings.Join(all, "\n"); got == want {
			return
		}
		n.pause()
	}
	n.t.Fatalf("routers: %q, want %q\n%s", got, want, n.log)
}

func orNothing(v any) any {
	if v == nil {
		return ""
	}
	return v
}
