package store

import (
	"context"
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
func elect(ctx context.Context, etcd *embed.Etcd, fate *fate) error {
	if err := await(ctx, etcd, fate, caughtUp); err != nil || ctx.Err() != nil {
		return err
	}
	self := uint64(etcd.Server.MemberID())
	now := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self}
	if err := etcd.Server.Process(ctx, now); err != nil && ctx.Err() == nil {
		return fmt.Errorf("store: elect: %w", err)
	}
	return await(ctx, etcd, fate, func() bool {
		select {
		case <-etcd.Server.ReadyNotify():
			return true
		default:
			return false
		}
	})
}

// await returns when done says so, when ctx ends, and with an error when etcd has ended or stands still.
func await(ctx context.Context, etcd *embed.Etcd, fate *fate, done func() bool) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	stuck := newPatience(etcd)
	for !done() {
		select {
		case <-poll.C:
			if err := stuck.err(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-fate.sealed:
			return fmt.Errorf("store: etcd in %s cannot start: %w", etcd.Config().Dir, fate.err)
		case <-etcd.Server.StopNotify():
			return fmt.Errorf("store: etcd in %s stopped before it was ready", etcd.Config().Dir)
		}
	}
	return nil
}

// patience ends a start that does not get on: one that applies its log may take long, one that stands still never ends.
type patience struct {
	etcd    *embed.Etcd
	applied uint64
	since   time.Time
}

// standstill is how long a start may apply nothing. A sick disk takes seconds for one write.
const standstill = 20 * time.Second

func newPatience(etcd *embed.Etcd) *patience {
	return &patience{etcd: etcd, applied: etcd.Server.AppliedIndex(), since: time.Now()}
}

func (p *patience) err() error {
	if now := p.etcd.Server.AppliedIndex(); now != p.applied {
		p.applied, p.since = now, time.Now()
	}
	if time.Since(p.since) < standstill {
		return nil
	}
	return fmt.Errorf("store: etcd in %s does not get ready: it stands at entry %d of its log since %v; the disk is very slow, or its files are damaged: put back a copy of them from before",
		p.etcd.Config().Dir, p.applied, standstill)
}

// caughtUp reports whether raft knows that all it has committed is applied.
func caughtUp() bool {
	published, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return false
	}
	status, ok := published().(raft.Status)
	return ok && status.ID != 0 && status.Applied >= status.GetCommit()
}
