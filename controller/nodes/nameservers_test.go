//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package nodes

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// The endpoints of the DNS Service follow the nodes.
func TestNameServersFollowNodes(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	start(t, client)
	have := func() string {
		e, err := client.CoreV1().Endpoints(metav1.NamespaceSystem).Get(t.Context(), "kube-dns", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		text := ""
		for _, set := range e.Subsets {
			for _, a := range set.Addresses {
				text += a.IP + " " + *a.NodeName + ";"
			}
		}
		return text
	}
	expect := func(what, want string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			if got := have(); got != want {
				return fmt.Sprintf("%s: the endpoints are %q, want %q", what, got, want)
			}
			return ""
		})
	}
	addNode(t, client, "a")
	expect("a node", "10.244.0.1 a;fd00:10:244::1 a;")
	addNode(t, client, "b")
	expect("another", "10.244.0.1 a;10.244.1.1 b;fd00:10:244::1 a;fd00:10:244:1::1 b;")
	if err := client.CoreV1().Nodes().Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("one gone", "10.244.1.1 b;fd00:10:244:1::1 b;")
}
