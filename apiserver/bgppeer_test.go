package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/world"
)

// A node reads the routers and the pools, and of Secrets exactly those that are a router's password, in kube-system alone; it
// writes none of them.
func TestNodeReadsPasswordsOfRouters(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	for _, at := range []struct{ namespace, name string }{{"kube-system", "tor"}, {"kube-system", "other"}, {"default", "tor"}} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: at.name}, StringData: map[string]string{"password": "p"}}
		if _, err := admin.CoreV1().Secrets(at.namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if !forbidden(t, node, "kube-system", "tor") {
		t.Error("before it is named the node may read it")
	}
	peer := `{"apiVersion":"fairlead.dev/v1","kind":"BGPPeer","metadata":{"name":"tor"},"spec":{"peerAddress":"192.0.2.1","peerASN":1,"localASN":2,"passwordSecret":{"name":"tor"}}}`
	request := func(client kubernetes.Interface, verb, name, body string) error {
		r := client.CoreV1().RESTClient().Verb(verb).AbsPath("/apis/fairlead.dev/v1/bgppeers", name).SetHeader("Accept", runtime.ContentTypeJSON)
		if body != "" {
			r = r.SetHeader("Content-Type", runtime.ContentTypeJSON).Body([]byte(body))
		}
		return r.Do(ctx).Error()
	}
	if err := request(node, "POST", "", peer); err == nil {
		t.Error("a node makes a BGPPeer")
	}
	if err := request(admin, "POST", "", peer); err != nil {
		t.Fatal(err)
	}
	if forbidden(t, node, "kube-system", "tor") {
		t.Error("named, and yet forbidden")
	}
	if !forbidden(t, node, "kube-system", "other") || !forbidden(t, node, "default", "tor") {
		t.Error("the node may read what no BGPPeer names")
	}
	if err := request(node, "DELETE", "tor", ""); err == nil {
		t.Error("a node deletes a BGPPeer")
	}
	w := world.New()
	go func() { _ = w.Follow(ctx, node, world.AddressPools, world.BGPPeers) }()
	apitest.Eventually(t, func() string {
		if peers := w.Peers(); len(peers) != 1 || peers[0].Spec.PasswordSecret.Name != "tor" || *peers[0].Spec.HoldTimeSeconds != 90 {
			return "the node's World does not have the BGPPeer"
		}
		return ""
	})
	if err := request(admin, "DELETE", "tor", ""); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		if len(w.Peers()) != 0 || !forbidden(t, node, "kube-system", "tor") {
			return "gone, and still known or its password readable"
		}
		return ""
	})
}
