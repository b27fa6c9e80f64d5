package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// lockKey is where the API server that works on an external etcd says so.
	lockKey = "/fairlead.dev/apiserver"
	// lockSeconds is how long that holds after the server was last heard of.
	lockSeconds = 10
	// lockRetry is how long a server waits that lost its lease, because etcd did not answer, before it asks for another.
	lockRetry = time.Second
)

// lockHolder is an API server, as it shows itself to others.
type lockHolder struct {
	Host  string    `json:"host"`
	Dir   string    `json:"dir"`
	Boot  string    `json:"boot"` // of the host: a host's name says little
	Since time.Time `json:"since"`
}

func newLockHolder(dir string) lockHolder {
	host, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return lockHolder{Host: host, Dir: dir, Boot: strings.TrimSpace(string(boot)), Since: time.Now().UTC().Truncate(time.Second)}
}

// same says whether two are servers over one data directory, which is locked: then one of them has ended.
func (h lockHolder) same(other lockHolder) bool {
	return h.Dir != "" && h.Host == other.Host && h.Dir == other.Dir && h.Boot == other.Boot
}

// etcdLock keeps other API servers off an external etcd: a server learns from its own writes that there is a first object of a kind,
// which wakes what admission decides by (see creations), so what one was told to refuse another would take.
type etcdLock struct {
	client *clientv3.Client
	self   lockHolder
	log    *slog.Logger
	lost   <-chan *clientv3.LeaseKeepAliveResponse // closed when the lease is lost
	lease  clientv3.LeaseID
}

// acquire writes the key, and fails when another server has it.
func (l *etcdLock) acquire(ctx context.Context) error {
	grant, err := l.client.Grant(ctx, lockSeconds)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	text, err := json.Marshal(l.self)
	if err != nil {
		return err
	}
	put := clientv3.OpPut(lockKey, string(text), clientv3.WithLease(grant.ID))
	for was := int64(0); ; { // 0: nobody has it
		answer, err := l.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(lockKey), "=", was)).Then(put).Else(clientv3.OpGet(lockKey)).Commit()
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
		if answer.Succeeded {
			break
		}
		found := answer.Responses[0].GetResponseRange().Kvs
		if was = 0; len(found) > 0 {
			if err := l.judge(found[0].Value); err != nil {
				_, _ = l.client.Revoke(ctx, grant.ID) // it ends by itself
				return err
			}
			was = found[0].ModRevision
		}
	}
	l.lease = grant.ID
	l.lost, err = l.client.KeepAlive(context.WithoutCancel(ctx), grant.ID)
	return err
}

// judge says whether what another server wrote of itself keeps this one off.
func (l *etcdLock) judge(text []byte) error {
	var other lockHolder
	if err := json.Unmarshal(text, &other); err != nil {
		return fmt.Errorf("the key %s in etcd is not an API server's: %w", lockKey, err)
	}
	if other.same(l.self) {
		return nil // it was killed
	}
	return fmt.Errorf("another API server works on this etcd, on host %s with data directory %s since %s: only one can, so stop that one first; if it is gone, try again in %d seconds",
		other.Host, other.Dir, other.Since.Format(time.RFC3339), lockSeconds)
}

// keep holds on until ctx ends, and fails when another server came in between.
func (l *etcdLock) keep(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, kept := <-l.lost: // the client keeps the lease alive, and tells each time
			if kept {
				continue
			}
		}
		l.log.Warn("etcd has not answered for so long that another API server could take over; asking for it again")
		for l.acquire(ctx) != nil {
			if err := l.taken(ctx); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(lockRetry):
			}
		}
	}
}

// taken is the error of another server having the key; nil, also when that cannot be found out.
func (l *etcdLock) taken(ctx context.Context) error {
	answer, err := l.client.Get(ctx, lockKey)
	if err != nil || len(answer.Kvs) == 0 {
		return nil
	}
	return l.judge(answer.Kvs[0].Value)
}

// release lets others in at once.
func (l *etcdLock) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = l.client.Revoke(ctx, l.lease) // it ends by itself
	_ = l.client.Close()
}

// lock makes this server the only one over its etcd. What it returns keeps it so until its context ends, and releases it in the end.
// An embedded etcd is nobody else's anyway.
func (b *backend) lock(ctx context.Context, cfg Config) (keep func(context.Context) error, release func(), err error) {
	if b.embedded != nil {
		return func(context.Context) error { return nil }, func() {}, nil
	}
	client, err := b.client()
	if err != nil {
		return nil, nil, err
	}
	l := &etcdLock{client: client, self: newLockHolder(cfg.DataDir), log: b.log}
	if err := l.acquire(ctx); err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	return l.keep, l.release, nil
}
