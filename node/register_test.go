package node

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeletedNodeComesBack: the agent of a Node that somebody deletes registers it again.
func TestDeletedNodeComesBack(t *testing.T) {
	b := newBench(t)
	first, err := b.client.CoreV1().Nodes().Get(b.ctx, "n1", metav1.GetOptions{})
	if err == nil {
		err = b.client.CoreV1().Nodes().Delete(b.ctx, "n1", metav1.DeleteOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.giveRange()
	again, err := b.client.CoreV1().Nodes().Get(b.ctx, "n1", metav1.GetOptions{})
	if err != nil || again.UID == first.UID {
		t.Errorf("node %v in place of %v, %v", again, first.UID, err)
	}
}
