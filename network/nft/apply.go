package nft

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/plan"
)

// applied is the state of a table in the kernel: what was written last, and how
// large its maps are.
type applied struct {
	socket *socket
	layout plan.Layout
	sizes  [plan.MapCount]uint32
	flags  uint32
	rules  int // of all chains together
}

// rewrite makes the whole table what is desired, in one transaction: a
// packet sees either the old table or the new one. Connections that are
// established live in conntrack and notice nothing. With keep, the affinity map
// and what its entries refer to survive; that takes a table of ours that nobody
// has touched, and if it does not work the table is replaced.
func (a *applied) rewrite(d *plan.Desired, keep bool) error {
	a.sizes = d.Rewrite()
	there, err := a.socket.contents(a.layout.Family)
	if err != nil {
		return err
	}
	keep = keep && slices.Contains(there.Maps, plan.AffinityMap)
	commit := func() error {
		tx := plan.Whole(a.layout, d, a.sizes, a.flags, there, keep)
		a.rules = tx.Rules
		return a.socket.Commit(&tx.Batch)
	}
	err = commit()
	if err != nil && keep {
		keep = false
		err = commit()
	}
	if errors.Is(err, unix.EOPNOTSUPP) && a.flags != 0 {
		a.flags = 0
		err = commit()
	}
	if err != nil {
		return fmt.Errorf("write table %s %s: %w", a.layout.Family, plan.TableName, err)
	}
	d.Committed()
	return nil
}

// update brings a difference into the kernel, in one transaction.
func (a *applied) update(d *plan.Desired, by plan.Difference) error {
	tx := plan.Change(a.layout.Family, d, by)
	if tx.IsEmpty() {
		return nil
	}
	if err := a.socket.Commit(&tx.Batch); err != nil {
		return fmt.Errorf("update table %s %s: %w", a.layout.Family, plan.TableName, err)
	}
	a.rules += tx.Rules
	d.Committed()
	return nil
}

// Clean removes the tables, and with them all that a Proxy ever wrote, from the
// current network namespace. It is not an error if there are none.
func Clean() error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.Close()
	for _, v6 := range []bool{false, true} {
		f := plan.NewFamily(v6)
		if err := s.Commit(&plan.Remove(f).Batch); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove table %s %s: %w", f, plan.TableName, err)
		}
	}
	return nil
}
