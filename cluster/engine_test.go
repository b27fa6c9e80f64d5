package cluster

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/world"
)

// TestNodeSaysWhyItServesNoIngresses: as long as a port is not open, and not any more when it is, also if an earlier life of the
// agent has said so.
func TestNodeSaysWhyItServesNoIngresses(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{api.AnnotationNoIngress: "of old", "kept": "yes"}}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w := world.New()
	w.Put(node)
	e := &engine{mark: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.keepMark(ctx, client, w, "n1") }()
	for _, why := range []string{"", "192.0.2.1:80: taken", "192.0.2.1:443: taken", ""} {
		e.isClosed(why)
		apitest.Eventually(t, func() string {
			n, err := client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got, there := n.Annotations[api.AnnotationNoIngress]; got != why || there != (why != "") || n.Annotations["kept"] != "yes" {
				return "the node says " + got + ", want " + why
			}
			return ""
		})
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
