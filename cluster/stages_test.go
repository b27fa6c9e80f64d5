package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/cluster/lab"
)

// A stage that hangs ends by its bound, and says what it waits for; one that fails elsewhere ends with that.
func TestAwait(t *testing.T) {
	never := make(chan struct{})
	err := await(t.Context(), "API server", never, time.Millisecond, func() string { return "no answer from etcd" })
	if err == nil || err.Error() != "API server: not ready after 1ms: no answer from etcd" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("dns: port 53 is taken"))
	if err := await(ctx, "name server", never, 0, nil); err == nil || err.Error() != "dns: port 53 is taken" {
		t.Error(err)
	}
	if err := within(t.Context(), "containerd", time.Millisecond, func(context.Context) error { <-never; return nil }); err == nil || !strings.HasPrefix(err.Error(), "containerd: not ready") {
		t.Error(err)
	}
	if err := within(t.Context(), "containerd", 0, func(context.Context) error { return errors.New("no runc") }); err == nil || err.Error() != "no runc" {
		t.Error(err)
	}
}

// A lab is ready when each agent of this start has said so, and tells who has not.
func TestRoll(t *testing.T) {
	r := newRoll([]lab.Node{{Name: "node1"}, {Name: "node2"}})
	r.did("node1", report{Stage: "containerd"})
	r.did("node2", report{Ready: true})
	r.did("node2", report{Ready: true}) // started again meanwhile
	select {
	case <-r.ready:
		t.Fatal("ready without node1")
	default:
	}
	if got := r.missing(); got != "node1 last reached: containerd" {
		t.Errorf("missing: %q", got)
	}
	r.did("node1", report{Ready: true})
	select {
	case <-r.ready:
	default:
		t.Error("not ready: " + r.missing())
	}
}

func TestFollow(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"stage":"a"}{"ready":true}`, ""},
		{`{"stage":"a"}{"error":"no runc"}`, "no runc"},
		{`{"stage":"a"}`, errEnded.Error()},
	} {
		seen := 0
		err := follow(strings.NewReader(c.text), func(report) { seen++ })
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want || seen != 1 {
			t.Errorf("%s: %v, %d stages", c.text, err, seen)
		}
	}
}
