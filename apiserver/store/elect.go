package store

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// starting makes the stores of a process start one after the other: etcd publishes how far raft has come for the whole
// process, of the member that was started last.
var starting sync.Mutex

// elect waits until the member leads. Left alone, raft waits a random part of an election timeout (up to a
// second) for a leader that cannot exist; MsgTimeoutNow, raft's order to campaign at once, ends the wait
// while the ticks stay long and cheap. It returns early, without an error, when ctx ends.
//
// A campaign looks through the log for what is committed and not applied, and panics when that is no longer in memory.
// etcd drops entries from memory once it has applied them, a moment before it tells raft. So the order is given when raft
// itself knows that everything is applied; from then on nothing is committed until somebody leads.
func elect(ctx context.Context, etcd *embed.Etcd) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !caughtUp() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil
		case <-etcd.Server.StopNotify():
			return errStopped
		}
	}
	self := uint64(etcd.Server.MemberID())
	now := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self}
	if err := etcd.Server.Process(ctx, now); err != nil && ctx.Err() == nil {
		return fmt.Errorf("store: elect: %w", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case <-ctx.Done():
		return nil
	case <-etcd.Server.StopNotify():
		return errStopped
	}
}

var errStopped = errors.New("store: etcd stopped before it became ready")

// caughtUp reports whether raft knows that all it has committed is applied.
func caughtUp() bool {
	published, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return false
	}
	status, ok := published().(raft.Status)
	return ok && status.ID != 0 && status.Applied >= status.GetCommit()
}
