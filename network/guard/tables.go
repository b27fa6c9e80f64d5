package guard

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/policy/table"
)

// tables are those of both IP versions as the kernel has them.
type tables struct {
	socket   *netfilter.Socket
	families []*rule.Family
	flags    uint32
	whole    bool // the kernel has what was written last; false: everything is to be written
}

func newTables(s *netfilter.Socket) *tables {
	return &tables{socket: s, families: families(), flags: rule.TableOwner | rule.TablePersist}
}

func families() []*rule.Family { return []*rule.Family{rule.NewFamily(false), rule.NewFamily(true)} }

// write brings the rows into the kernel: of each IP version in one transaction, of which packets see all or nothing. It reports whether
// anything changed. If the kernel is not as it was left, all is written anew.
func (t *tables) write(rows *policy.Rows) (changed bool, err error) {
	if t.whole {
		c := table.Take(rows)
		if c.IsEmpty() {
			return false, nil
		}
		if t.update(c) == nil {
			return true, nil
		}
	}
	t.whole = false
	all := table.All(rows)
	for _, f := range t.families {
		if err := t.replace(f, all); err != nil {
			return true, fmt.Errorf("write table %s %s: %w", f, table.Name, err)
		}
	}
	t.whole = true
	return true, nil
}

func (t *tables) update(c table.Change) error {
	for _, f := range t.families {
		tx := c.Update(f)
		if tx.IsEmpty() {
			continue
		}
		if err := t.socket.Commit(&tx.Batch); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) replace(f *rule.Family, all table.Change) error {
	there, err := t.socket.HasTable(f.Protocol, table.Name)
	if err != nil {
		return err
	}
	err = t.socket.Commit(&all.Whole(f, t.flags, there).Batch)
	if errors.Is(err, unix.EOPNOTSUPP) && t.flags != 0 { // before Linux 6.9
		t.flags = 0
		err = t.socket.Commit(&all.Whole(f, t.flags, there).Batch)
	}
	return err
}

// lost reports whether a table is gone that was written and that anybody can remove: before Linux 6.9 it has no owner.
func (t *tables) lost() bool {
	if !t.whole || t.flags != 0 {
		return false
	}
	for _, f := range t.families {
		if there, err := t.socket.HasTable(f.Protocol, table.Name); err == nil && !there {
			t.whole = false
		}
	}
	return !t.whole
}

// remove takes the tables away: no pod is selected, and packets have nothing to pass.
func (t *tables) remove() error {
	t.whole = false
	return remove(t.socket)
}

func remove(s *netfilter.Socket) error {
	for _, f := range families() {
		if err := s.Commit(&table.Remove(f).Batch); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove table %s %s: %w", f, table.Name, err)
		}
	}
	return nil
}

// Clean removes the tables from the current network namespace. It is not an error if there are none.
func Clean() error {
	s, err := netfilter.Dial()
	if err != nil {
		return err
	}
	defer s.Close()
	return remove(s)
}
