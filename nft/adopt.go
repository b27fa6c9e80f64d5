package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/lb"
	"fairlead.dev/fairlead/world"
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
func setName(service world.ServiceName, port string, scope lb.Scope) string {
	return fmt.Sprintf("%s:%s %v", service, port, scope)
}

// maxInherited bounds what is read. The kernel takes a time quadratic in the
// size of a map to list it; above this, clients are balanced afresh.
const maxInherited = 20000

var errTooMany = errors.New("too many elements to read")

// contents lists the table.
func (s *socket) contents() (contents, error) {
	var c contents
	err := s.request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, unix.NFPROTO_IPV4,
		func(message) error { c.exists = true; return nil }, text(unix.NFTA_TABLE_NAME, tableName))
	if errors.Is(err, unix.ENOENT) {
		return contents{}, nil
	}
	if err != nil {
		return contents{}, fmt.Errorf("look for table %s: %w", tableName, err)
	}
	if err := s.names(unix.NFT_MSG_GETCHAIN, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, &c.chains); err != nil {
		return contents{}, err
	}
	return c, s.names(unix.NFT_MSG_GETSET, unix.NFTA_SET_NAME, 0, &c.maps)
}

// names lists the table's chains or maps, except anonymous maps and those that
// have the attribute without.
func (s *socket) names(kind, name, without uint16, to *[]string) error {
	const table = 1 // NFTA_CHAIN_TABLE, NFTA_SET_TABLE
	err := s.request(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP, unix.NFPROTO_IPV4, func(m message) error {
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
		return fmt.Errorf("list table %s: %w", tableName, err)
	}
	return nil
}

// elements passes the elements of a map to each, which must not keep them.
func (s *socket) elements(set string, each func(key, data []byte, comment string) error) error {
	return s.request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, unix.NFPROTO_IPV4, func(m message) error {
		for list := range attributes(m.body) {
			if list.kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for element := range nestedAttributes(list.data) {
				if err := parseElement(element.data, each); err != nil {
					return err
				}
			}
		}
		return nil
	}, text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), text(unix.NFTA_SET_ELEM_LIST_SET, set))
}

func parseElement(p []byte, each func(key, data []byte, comment string) error) error {
	var key, data []byte
	comment := ""
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
			key = value(a.data)
		case unix.NFTA_SET_ELEM_DATA:
			data = value(a.data)
		case unix.NFTA_SET_ELEM_USERDATA:
			if n := len(a.data); n > 3 && a.data[0] == 0 { // type, length, text, NUL
				comment = string(a.data[2 : n-1])
			}
		}
	}
	return each(key, data, comment)
}

// inherit reads the ids of the table's sticky sets.
func (s *socket) inherit() (heritage, error) {
	targets := map[uint32]netip.AddrPort{}
	err := s.elements(shapes[stickyTargets].name, func(key, data []byte, _ string) error {
		if len(key) != 4 || len(data) < 6 {
			return fmt.Errorf("map %s is not ours", shapes[stickyTargets].name)
		}
		addr := netip.AddrFrom4([4]byte(data))
		targets[binary.NativeEndian.Uint32(key)] = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(data[4:]))
		if len(targets) > maxInherited {
			return errTooMany
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := heritage{}
	err = s.elements(shapes[stickySlots].name, func(key, data []byte, comment string) error {
		if len(key) != 8 || len(data) != 4 || comment == "" {
			return fmt.Errorf("map %s is not ours", shapes[stickySlots].name)
		}
		in, ok := found[comment]
		if !ok {
			in = inherited{id: binary.NativeEndian.Uint32(key), endpoints: map[netip.AddrPort]uint32{}}
			found[comment] = in
		}
		id := binary.NativeEndian.Uint32(data)
		if at, ok := targets[id]; ok {
			in.endpoints[at] = id
		}
		return nil
	})
	return found, err
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
func (b *book) inheritSet(service world.ServiceName, from *lb.Set) (uint32, []slot, bool) {
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
