package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// What a client sticks to is known to the kernel alone, by set id and endpoint
// id. A Proxy that finds a table of its predecessor therefore reads those ids,
// gives them to the same sets and endpoints again, and leaves the affinity map
// where it is. Only Services with affinity have elements to be read; all else
// is written anew without a look.

// contents is what the table consists of.
type contents struct {
	exists bool
	chains []string // those that are only jumped to
	maps   []string // without anonymous ones
}

// heritage is the ids that a table was written with.
type heritage map[string]inherited // by setName

type inherited struct {
	id        uint32
	endpoints map[netip.AddrPort]uint32
}

// setName names a set across processes. It is the comment of the set's slots.
func setName(service types.NamespacedName, port string, scope lb.Scope) string {
	return fmt.Sprintf("%s:%s %v", service, port, scope)
}

// maxInherited bounds what is read. The kernel takes a time quadratic in the
// size of a map to list it; above this, clients are balanced afresh.
const maxInherited = 20000

var errTooMany = errors.New("too many elements to read")

// contents lists the family's table.
func (s *socket) contents(f *family) (contents, error) {
	var c contents
	err := s.request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, f.protocol,
		func(message) error { c.exists = true; return nil }, text(unix.NFTA_TABLE_NAME, tableName))
	if errors.Is(err, unix.ENOENT) {
		return contents{}, nil
	}
	if err != nil {
		return contents{}, fmt.Errorf("look for table %s %s: %w", f, tableName, err)
	}
	if err := s.names(f, unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, &c.chains); err != nil {
		return contents{}, err
	}
	return c, s.names(f, unix.NFT_MSG_GETSET, unix.NFTA_SET_NAME, 0, &c.maps)
}

// names lists the table's chains or maps, except anonymous maps and those that
// have the attribute without.
func (s *socket) names(f *family, kind, name, without uint16, to *[]string) error {
	const table = 1 // NFTA_CHAIN_TABLE, NFTA_SET_TABLE
	err := s.request(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP, f.protocol, func(m message) error {
		ours, found := false, ""
		for a := range attributes(m.body) {
			switch {
			case a.kind == table:
				ours = string(a.data) == tableName+"\x00"
			case a.kind == name:
				found = strings.TrimSuffix(string(a.data), "\x00")
			case a.kind == without && without != 0:
				return nil
			}
		}
		if ours && !strings.HasPrefix(found, "__set") {
			*to = append(*to, found)
		}
		return nil
	}, text(table, tableName))
	if err != nil {
		return fmt.Errorf("list table %s %s: %w", f, tableName, err)
	}
	return nil
}

// elements passes the elements of a map to each, which must not keep them.
func (s *socket) elements(f *family, in mapID, each func(element) error) error {
	return s.request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, f.protocol,
		func(m message) error { return parseElements(m, each) }, text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), text(unix.NFTA_SET_ELEM_LIST_SET, in.String()))
}

// element is an element as received; its bytes alias the read buffer.
type element struct {
	key, data []byte
	comment   string
	counted   bool
	packets   uint64 // that its counter has seen
}

func parseElements(m message, each func(element) error) error {
	for list := range attributes(m.body) {
		if list.kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for e := range nestedAttributes(list.data) {
			if err := each(parseElement(e.data)); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseElement(p []byte) element {
	var e element
	value := func(p []byte) []byte {
		for a := range nestedAttributes(p) {
			if a.kind == unix.NFTA_DATA_VALUE {
				return a.data
			}
		}
		return nil
	}
	for a := range nestedAttributes(p) {
		switch a.kind {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = value(a.data)
		case unix.NFTA_SET_ELEM_DATA:
			e.data = value(a.data)
		case unix.NFTA_SET_ELEM_USERDATA:
			if n := len(a.data); n > 3 && a.data[0] == 0 { // type, length, text, NUL
				e.comment = string(a.data[2 : n-1])
			}
		case unix.NFTA_SET_ELEM_EXPR:
			e.packets, e.counted = parseCounter(a.data)
		}
	}
	return e
}

func parseCounter(p []byte) (packets uint64, ok bool) {
	for data := range nestedAttributes(p) {
		if data.kind != unix.NFTA_EXPR_DATA {
			continue
		}
		for a := range nestedAttributes(data.data) {
			if a.kind == unix.NFTA_COUNTER_PACKETS && len(a.data) == 8 {
				return binary.BigEndian.Uint64(a.data), true
			}
		}
	}
	return 0, false
}

// inherit reads the ids of the table's sticky sets.
func (s *socket) inherit(f *family) (heritage, error) {
	targets := map[uint32]netip.AddrPort{}
	err := s.elements(f, stickyTargets, func(e element) error {
		at, ok := f.parseBackend(e.data)
		if len(e.key) != 4 || !ok {
			return fmt.Errorf("map %s is not ours", stickyTargets)
		}
		targets[binary.NativeEndian.Uint32(e.key)] = at
		if len(targets) > maxInherited {
			return errTooMany
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := heritage{}
	err = s.elements(f, stickySlots, func(e element) error {
		if len(e.key) != 8 || len(e.data) != 4 || e.comment == "" {
			return fmt.Errorf("map %s is not ours", stickySlots)
		}
		in, ok := found[e.comment]
		if !ok {
			in = inherited{id: binary.NativeEndian.Uint32(e.key), endpoints: map[netip.AddrPort]uint32{}}
			found[e.comment] = in
		}
		id := binary.NativeEndian.Uint32(e.data)
		if at, ok := targets[id]; ok && id > setMask { // smaller ones are of a version that took them for sets, too
			in.endpoints[at] = id
		}
		return nil
	})
	return found, err
}

// parseBackend reads an address and port as the kernel has them.
func (f *family) parseBackend(p []byte) (netip.AddrPort, bool) {
	if len(p) < int(f.addrLen)+2 {
		return netip.AddrPort{}, false
	}
	a, ok := netip.AddrFromSlice(p[:f.addrLen])
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p[f.addrLen:])), ok
}

// adopt prepares an empty book for the ids of a heritage.
func (b *book) adopt(h heritage) {
	b.heritage = h
	used := map[uint32]bool{}
	for _, in := range h {
		used[in.id] = true
		b.setIDs.last = max(b.setIDs.last, in.id)
		for _, id := range in.endpoints {
			b.endpoints = max(b.endpoints, id)
		}
	}
	for id := uint32(1); id < b.setIDs.last; id++ {
		if !used[id] {
			b.setIDs.free = append(b.setIDs.free, id)
		}
	}
}

// inheritSet takes over the ids that a set had in a previous life, once.
func (b *book) inheritSet(service types.NamespacedName, from *lb.Set) (uint32, []slot, bool) {
	if len(b.heritage) == 0 {
		return 0, nil, false
	}
	name := setName(service, from.Port, from.Scope)
	in, ok := b.heritage[name]
	if !ok {
		return 0, nil, false
	}
	delete(b.heritage, name)
	var had []slot
	for _, backend := range from.Backends {
		if id, ok := in.endpoints[backend.Addr]; ok {
			had = append(had, slot{addr: backend.Addr, id: id})
		}
	}
	return in.id, had, true
}

// settleHeritage ends the adoption: ids that nobody took are free. It is called
// once everything has been derived, so that no newcomer gets an id before its
// owner, and all entries of it in the affinity map, turn up.
func (b *book) settleHeritage() {
	for _, in := range b.heritage {
		b.setIDs.free = append(b.setIDs.free, in.id)
	}
	b.heritage = nil
}
