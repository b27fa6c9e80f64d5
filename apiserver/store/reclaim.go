package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Reclaim gives back what the database file holds of old revisions and deleted objects, after etcd has found it at its
// limit and refuses writes, and has etcd take writes again if that is enough. Nothing else is answered meanwhile.
func (s *Store) Reclaim(ctx context.Context) error {
	c := s.Open()
	defer c.Close()
	now, err := c.Get(ctx, "/", clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("store: reclaim: %w", err)
	}
	if _, err := c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("store: reclaim: compact: %w", err)
	}
	if err := s.etcd.Server.Defragment(); err != nil {
		return fmt.Errorf("store: reclaim: defragment: %w", err)
	}
	s.room.renew()
	status, err := c.Status(ctx, "")
	if err != nil {
		return fmt.Errorf("store: reclaim: %w", err)
	}
	if status.DbSize > s.quota/10*9 {
		return fmt.Errorf("store: the objects themselves take %d MiB of at most %d: delete some", status.DbSize>>20, s.quota>>20)
	}
	if _, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("store: reclaim: %w", err)
	}
	s.log.Info("the store had reached its limit and takes writes again", "bytes", status.DbSize)
	return nil
}

// AtLimit reports whether an error of a write says that the database has reached its limit.
func AtLimit(err error) bool { return errors.Is(err, rpctypes.ErrNoSpace) }
