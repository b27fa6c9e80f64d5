package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/kube"
)

// What the agents of nodes tell becomes the status of a BGPPeer, and its changes Events; without a BGPPeer nobody is asked.
func TestStatusAndEvents(t *testing.T) {
	config := apitest.Start(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := kube.NewPeers(config)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	up, asked := true, 0
	var told announce.Told
	vip := netip.MustParseAddr("192.0.2.80")
	ask := func(_ context.Context, n *corev1.Node) ([]announce.Router, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if n.Name == "n2" && !up {
			return nil, errors.New("connection refused")
		}
		if n.Name == "n1" && !up {
			return []announce.Router{{Peer: "tor", Since: time.Now().Add(-time.Hour), Reason: "nothing listens on 192.0.2.1:179"}}, nil
		}
		return []announce.Router{{Peer: "tor", Established: true, Since: time.Now().Add(-time.Minute), Routes: 1, Told: []netip.Addr{vip}}}, nil
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"rack": map[bool]string{true: "b", false: "a"}[name == "n3"]}}}
		if _, err := client.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	apitest.Control(t, shared, New(client, peers, shared, ask, func(t announce.Told) { mu.Lock(); defer mu.Unlock(); told = t }, slog.New(slog.DiscardHandler)).Run)
	status := func(want string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			p, err := peers.Get(t.Context(), "tor", metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			c := meta.FindStatusCondition(p.Status.Conditions, kinds.PeerEstablished)
			if got := fmt.Sprintf("%d/%d %+v", p.Status.Established, p.Status.Wanted, c); c == nil || !strings.Contains(got, want) {
				return fmt.Sprintf("status %s, want %s", got, want)
			}
			return ""
		})
	}
	event := func(reason string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=BGPPeer,involvedObject.name=tor,reason=" + reason})
			if err != nil || len(list.Items) == 0 {
				return fmt.Sprintf("no Event %s: %v", reason, err)
			}
			return ""
		})
	}
	mu.Lock()
	if asked != 0 {
		t.Errorf("without a BGPPeer nodes were asked %d times", asked)
	}
	mu.Unlock()
	tor := &kinds.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: kinds.BGPPeerSpec{
		PeerAddress: "192.0.2.1", PeerASN: 1, LocalASN: 2, NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "a"}},
	}}
	if _, err := peers.Create(t.Context(), tor, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	status("2 of 2 nodes have a session")
	event("SessionsEstablished")
	mu.Lock()
	if got := told[vip]["tor"]; !slices.Equal(got, []string{"n1", "n2"}) || !slices.Equal(told.Routers(vip), []string{"tor"}) {
		t.Errorf("of what routers have been told: %v", told)
	}
	up = false
	mu.Unlock()
	status("0 of 2 nodes have a session; node n1: nothing listens on 192.0.2.1:179")
	event("SessionsMissing")
	mu.Lock()
	defer mu.Unlock()
	if len(told) > 0 {
		t.Errorf("of what routers have been told without a session: %v", told)
	}
}
