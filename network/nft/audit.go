package nft

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Rule P100: what others do to the tables is noticed within a second, and
// undone. nf_tables counts the transactions of everybody, so as long as nothing
// happens a look costs one question; after that the table is looked at without
// reading its maps, which would take the kernel a time quadratic in their size.

// audit reports whether a table was harmed since the last look.
func (l *loop) audit() bool {
	id, err := l.socket.generation()
	if err == nil && id == l.generation {
		return false
	}
	l.generation = id
	harmed := false
	for _, t := range l.tables {
		if t.stale {
			continue
		}
		if err := t.verify(); err != nil {
			l.proxy.log.Warn("somebody else changed the rules of services; writing them again", "table", t.family, "err", err)
			t.stale, t.intact = true, false
			harmed = true
		}
	}
	return harmed
}

// probes is how many elements of each map are looked up.
const probes = 4

// verify returns an error if the table has not as many rules as were written,
// or lacks one of some elements.
func (t *table) verify() error {
	n, err := t.applied.socket.countRules(t.family)
	if err != nil {
		return err
	}
	if n != t.applied.rules {
		return fmt.Errorf("%d rules instead of %d", n, t.applied.rules)
	}
	for in, keys := range t.desired.Sample(probes) {
		if err := t.applied.socket.look(t.family, plan.Map(in), keys, func(element) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// generation asks for the number of transactions so far.
func (s *socket) generation() (uint32, error) {
	const genID = 1 // NFTA_GEN_ID
	var id uint32
	err := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, func(m netfilter.Message) error {
		for a := range wire.Attributes(m.Body) {
			if a.Kind == genID && len(a.Data) == 4 {
				id = wire.Number(a.Data)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("nf_tables generation: %w", err)
	}
	return id, nil
}

// countRules returns how many rules the family's table has, in all chains.
func (s *socket) countRules(f *plan.Family) (int, error) {
	n := 0
	err := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, f.Protocol, func(m netfilter.Message) error {
		for a := range wire.Attributes(m.Body) {
			if a.Kind == unix.NFTA_RULE_TABLE && string(a.Data) == plan.TableName+"\x00" {
				n++
			}
		}
		return nil
	}, wire.Text(unix.NFTA_RULE_TABLE, plan.TableName))
	if err != nil {
		return 0, fmt.Errorf("count rules: %w", err)
	}
	return n, nil
}

// maxLook is how many elements are asked for at a time: their list is one
// attribute, whose length is a 16-bit number.
const maxLook = 500

// look passes the elements with the given keys to each. The error is
// unix.ENOENT if one is not there.
func (s *socket) look(f *plan.Family, in plan.Map, keys []plan.Key, each func(element) error) error {
	for len(keys) > 0 {
		part := keys[:min(maxLook, len(keys))]
		keys = keys[len(part):]
		list := wire.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for i := range part {
			list.Nested = append(list.Nested, wire.Nest(unix.NFTA_LIST_ELEM,
				wire.Nest(unix.NFTA_SET_ELEM_KEY, wire.Raw(unix.NFTA_DATA_VALUE, f.Key(&part[i])))))
		}
		err := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, 0, f.Protocol,
			func(m netfilter.Message) error { return parseElements(m, each) },
			wire.Text(unix.NFTA_SET_ELEM_LIST_TABLE, plan.TableName), wire.Text(unix.NFTA_SET_ELEM_LIST_SET, in.String()), list)
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("an element of %s is missing: %w", in, err)
		}
		if err != nil {
			return fmt.Errorf("look into %s: %w", in, err)
		}
	}
	return nil
}
