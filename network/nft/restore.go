package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/nft/wire"
)

// What a client sticks to is known to the kernel alone, by set id and endpoint
// id. A Proxy that finds a table of its predecessor therefore reads those ids,
// gives them to the same sets and endpoints again, and leaves the affinity map
// where it is. Only Services with affinity have elements to be read; all else
// is written anew without a look.

// maxRestored bounds what is read. The kernel takes a time quadratic in the
// size of a map to list it; above this, clients are balanced afresh.
const maxRestored = 20000

var errTooMany = errors.New("too many elements to read")

// contents lists the family's table.
func (s *socket) contents(f *plan.Family) (plan.Contents, error) {
	var c plan.Contents
	there, err := s.HasTable(f.Protocol, plan.TableName)
	if err != nil || !there {
		return plan.Contents{}, err
	}
	c.Exists = true
	if err := s.names(f, unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, &c.Chains); err != nil {
		return plan.Contents{}, err
	}
	return c, s.names(f, unix.NFT_MSG_GETSET, unix.NFTA_SET_NAME, 0, &c.Maps)
}

// names lists the table's chains or maps, except anonymous maps and those that
// have the attribute without.
func (s *socket) names(f *plan.Family, kind, name, without uint16, to *[]string) error {
	const table = 1 // NFTA_CHAIN_TABLE, NFTA_SET_TABLE
	err := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP, f.Protocol, func(m netfilter.Message) error {
		ours, found := false, ""
		for a := range wire.Attributes(m.Body) {
			switch {
			case a.Kind == table:
				ours = string(a.Data) == plan.TableName+"\x00"
			case a.Kind == name:
				found = strings.TrimSuffix(string(a.Data), "\x00")
			case a.Kind == without && without != 0:
				return nil
			}
		}
		if ours && !strings.HasPrefix(found, "__set") {
			*to = append(*to, found)
		}
		return nil
	}, wire.Text(table, plan.TableName))
	if err != nil {
		return fmt.Errorf("list table %s %s: %w", f, plan.TableName, err)
	}
	return nil
}

// elements passes the elements of a map to each, which must not keep them.
func (s *socket) elements(f *plan.Family, in plan.Map, each func(element) error) error {
	return s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, f.Protocol,
		func(m netfilter.Message) error { return parseElements(m, each) }, wire.Text(unix.NFTA_SET_ELEM_LIST_TABLE, plan.TableName), wire.Text(unix.NFTA_SET_ELEM_LIST_SET, in.String()))
}

// element is an element as received; its bytes alias the read buffer.
type element struct {
	key, data []byte
	comment   string
	counted   bool
	packets   uint64 // that its counter has seen
}

func parseElements(m netfilter.Message, each func(element) error) error {
	for list := range wire.Attributes(m.Body) {
		if list.Kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for e := range wire.Nested(list.Data) {
			if err := each(parseElement(e.Data)); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseElement(p []byte) element {
	var e element
	value := func(p []byte) []byte {
		for a := range wire.Nested(p) {
			if a.Kind == unix.NFTA_DATA_VALUE {
				return a.Data
			}
		}
		return nil
	}
	for a := range wire.Nested(p) {
		switch a.Kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = value(a.Data)
		case unix.NFTA_SET_ELEM_DATA:
			e.data = value(a.Data)
		case unix.NFTA_SET_ELEM_USERDATA:
			if n := len(a.Data); n > 3 && a.Data[0] == 0 { // type, length, text, NUL
				e.comment = string(a.Data[2 : n-1])
			}
		case unix.NFTA_SET_ELEM_EXPR:
			e.packets, e.counted = parseCounter(a.Data)
		}
	}
	return e
}

func parseCounter(p []byte) (packets uint64, ok bool) {
	for data := range wire.Nested(p) {
		if data.Kind != unix.NFTA_EXPR_DATA {
			continue
		}
		for a := range wire.Nested(data.Data) {
			if a.Kind == unix.NFTA_COUNTER_PACKETS && len(a.Data) == 8 {
				return binary.BigEndian.Uint64(a.Data), true
			}
		}
	}
	return 0, false
}

// restored reads the ids of the table's sticky sets.
func (s *socket) restored(f *plan.Family) (plan.Restored, error) {
	targets := map[uint32]netip.AddrPort{}
	err := s.elements(f, plan.MapStickyTargets, func(e element) error {
		at, ok := f.ParseBackend(e.data)
		if len(e.key) != 4 || !ok {
			return fmt.Errorf("map %s is not ours", plan.MapStickyTargets)
		}
		targets[binary.NativeEndian.Uint32(e.key)] = at
		if len(targets) > maxRestored {
			return errTooMany
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := plan.Restored{}
	err = s.elements(f, plan.MapStickySlots, func(e element) error {
		if len(e.key) != 8 || len(e.data) != 4 || e.comment == "" {
			return fmt.Errorf("map %s is not ours", plan.MapStickySlots)
		}
		in, ok := found[e.comment]
		if !ok {
			in = plan.RestoredSet{ID: binary.NativeEndian.Uint32(e.key), Endpoints: map[netip.AddrPort]uint32{}}
			found[e.comment] = in
		}
		id := binary.NativeEndian.Uint32(e.data)
		if at, ok := targets[id]; ok && id > plan.MaxSetID { // smaller ones are of a version that took them for sets, too
			in.Endpoints[at] = id
		}
		return nil
	})
	return found, err
}
