package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

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

// TestRetryIsTerse: what fails in the same way again and again is told once, and whoever asks is told what it is.
func TestRetryIsTerse(t *testing.T) {
	var log bytes.Buffer
	a := New(Config{Name: "n1"}, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tries := 0
	err := a.retry(ctx, "a sign", func() error {
		if tries++; tries == 9 { // after more than a second
			cancel()
		}
		return errors.New("none")
	})
	if err == nil || a.Waiting() != "waits for a sign: none" || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("%v, waiting %q, log\n%s", err, a.Waiting(), log.String())
	}
	if err := a.retry(t.Context(), "a sign", func() error { return nil }); err != nil || a.Waiting() == "" {
		t.Errorf("%v, waiting %q: another's reason is not taken away", err, a.Waiting())
	}
}
