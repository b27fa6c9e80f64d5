package plan

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
)

// told is what a sequence of transactions says of the maps: for each element its
// value and comment, all as text. It reads the bytes by the rules of netlink
// alone and complains about everything that is not as they say.
type told struct {
	v6    bool
	tells map[string]string // "map: key" to "value #comment"
}

// attributesOf reads attributes that have to fill p, each padded with zeros.
func attributesOf(p []byte, each func(kind uint16, nested bool, body []byte) error) error {
	for len(p) > 0 {
		if len(p) < 4 {
			return fmt.Errorf("%d bytes are left over", len(p))
		}
		size, kind := int(binary.NativeEndian.Uint16(p)), binary.NativeEndian.Uint16(p[2:])
		padded := (size + 3) / 4 * 4
		if size < 4 || padded > len(p) {
			return fmt.Errorf("an attribute of %d bytes in %d", size, len(p))
		}
		for _, b := range p[size:padded] {
			if b != 0 {
				return fmt.Errorf("padded with %d", b)
			}
		}
		if err := each(kind&^unix.NLA_F_NESTED, kind&unix.NLA_F_NESTED != 0, p[4:size]); err != nil {
			return fmt.Errorf("in attribute %d: %w", kind&^unix.NLA_F_NESTED, err)
		}
		p = p[padded:]
	}
	return nil
}

// hear takes in a finished transaction whose messages are numbered from first.
func (w *told) hear(p []byte, first uint32) error {
	for n := first; len(p) > 0; n++ {
		if len(p) < 20 {
			return fmt.Errorf("%d bytes are left over", len(p))
		}
		size, kind, flags := int(binary.NativeEndian.Uint32(p)), binary.NativeEndian.Uint16(p[4:]), binary.NativeEndian.Uint16(p[6:])
		if size < 20 || size%4 != 0 || size > len(p) || flags&unix.NLM_F_REQUEST == 0 || binary.NativeEndian.Uint32(p[8:]) != n {
			return fmt.Errorf("message %d: header % x, %d bytes follow", n, p[:16], len(p))
		}
		begins, ends := kind == unix.NFNL_MSG_BATCH_BEGIN, kind == unix.NFNL_MSG_BATCH_END
		if begins != (n == first) || ends != (size == len(p)) {
			return fmt.Errorf("message %d of kind %#x is in the wrong place", n, kind)
		}
		if acked, beforeEnd := flags&unix.NLM_F_ACK != 0, !ends && len(p) == size+20; acked != beforeEnd {
			return fmt.Errorf("message %d: asks for an acknowledgement: %v", n, acked)
		}
		if !begins && !ends {
			if err := w.message(kind, p[20:size]); err != nil {
				return fmt.Errorf("message %d of kind %#x: %w", n, kind, err)
			}
		}
		p = p[size:]
	}
	return nil
}

func (w *told) message(kind uint16, p []byte) error {
	adds, deletes := kind == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM, kind == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELSETELEM
	in := ""
	return attributesOf(p, func(kind uint16, nested bool, body []byte) error {
		switch {
		case !adds && !deletes:
			return wellFormed(body, nested)
		case kind == unix.NFTA_SET_ELEM_LIST_TABLE && string(body) != "fairlead\x00":
			return fmt.Errorf("table %q", body)
		case kind == unix.NFTA_SET_ELEM_LIST_SET:
			in = strings.TrimSuffix(string(body), "\x00")
		case kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			return attributesOf(body, func(_ uint16, _ bool, body []byte) error { return w.element(in, body, adds) })
		}
		return nil
	})
}

// wellFormed checks what lies within an attribute, however deep.
func wellFormed(body []byte, nested bool) error {
	if !nested {
		return nil
	}
	return attributesOf(body, func(_ uint16, nested bool, body []byte) error { return wellFormed(body, nested) })
}

func (w *told) element(in string, p []byte, adds bool) error {
	var key, end, data []byte
	comment := ""
	err := attributesOf(p, func(kind uint16, nested bool, body []byte) error {
		to := map[uint16]*[]byte{unix.NFTA_SET_ELEM_KEY: &key, 10: &end, unix.NFTA_SET_ELEM_DATA: &data}[kind]
		if to == nil {
			if kind != unix.NFTA_SET_ELEM_USERDATA || len(body) < 3 || body[0] != 0 || int(body[1])+2 != len(body) {
				return fmt.Errorf("% x", body)
			}
			comment = strings.TrimSuffix(string(body[2:]), "\x00")
			return nil
		}
		return attributesOf(body, func(_ uint16, _ bool, body []byte) error { *to = body; return nil })
	})
	if err != nil || in == dispatchMap || strings.HasPrefix(in, "__set") {
		return err
	}
	k, v, err := w.decode(in, key, end, data, adds)
	if err != nil {
		return fmt.Errorf("%s: % x: %w", in, key, err)
	}
	if _, there := w.tells[in+": "+k]; there == adds {
		return fmt.Errorf("%s: %s is there: %v", in, k, there)
	}
	delete(w.tells, in+": "+k)
	if adds {
		w.tells[in+": "+k] = v + " #" + comment
	}
	return nil
}

// decode reads the parts that elements of a map consist of.
func (w *told) decode(in string, key, end, data []byte, adds bool) (k, v string, err error) {
	addr := func(p *[]byte) string {
		size := 4
		if w.v6 {
			size = 16
		}
		a, _ := netip.AddrFromSlice((*p)[:size])
		*p = (*p)[size:]
		return a.String()
	}
	number := func(p *[]byte) string {
		n := binary.NativeEndian.Uint32(*p)
		*p = (*p)[4:]
		return fmt.Sprint(n)
	}
	port := func(p *[]byte) string {
		n, pad := binary.BigEndian.Uint16(*p), binary.BigEndian.Uint16((*p)[2:])
		*p = (*p)[4:]
		return strings.Repeat("?", int(min(pad, 1))) + fmt.Sprint(n)
	}
	proto := func(p *[]byte) string {
		n := *p
		*p = (*p)[4:]
		return strings.Repeat("?", int(n[1]|n[2]|n[3])) + lb.Protocol(n[0]).String()
	}
	frontend, backend := []func(*[]byte) string{addr, proto, port}, []func(*[]byte) string{addr, port}
	one := []func(*[]byte) string{number}
	shapes := map[string][2][]func(*[]byte) string{
		"services": {frontend, one}, "shortcuts": {frontend, one}, "restricted": {frontend, nil}, "allowed": {append(frontend, addr), nil},
		"endpoints": {{number, number}, backend}, "sticky-slots": {{number, number}, one}, "sticky-targets": {one, backend},
		"sticky": {one, nil}, "sticky-twins": {one, one}, "cluster-ips": {{addr}, nil}, "nodes": {{addr}, nil}, "hairpins": {{addr, addr}, nil},
	}
	read := func(p []byte, parts []func(*[]byte) string) string {
		var words []string
		for _, part := range parts {
			if len(p) < 4 {
				err = fmt.Errorf("too short")
				return ""
			}
			words = append(words, part(&p))
		}
		if len(p) > 0 {
			err = fmt.Errorf("%d bytes too long", len(p))
		}
		return strings.Join(words, " ")
	}
	s := shapes[in]
	k = read(key, s[0])
	if end != nil {
		k += "-" + read(end, s[0])
	}
	if adds && s[1] != nil || data != nil { // what is deleted is named by its key alone
		v = read(data, s[1])
	}
	return k, v, err
}

// meant is what a state wants, as text of the same kind. Numbers in its keys are in network order.
func meant(b *Desired, v6 bool) map[string]string {
	all := map[string]string{}
	say := func(e *entry) {
		ip := func(p [16]byte) string { return netip.AddrFrom16(p).Unmap().String() }
		n := func(at int) uint32 { return binary.BigEndian.Uint32(e.addr[at:]) }
		frontend := fmt.Sprintf("%s %s %d", ip(e.addr), e.proto, e.port)
		backend, number := fmt.Sprintf("%s %d", ip(e.value.addr), e.value.number), fmt.Sprint(e.value.number)
		comment := e.comment[:min(len(e.comment), 127)]
		put := func(k, v string) { all[e.in.String()+": "+k] = v + " #" + comment }
		switch e.in {
		case MapServices, MapShortcuts:
			put(frontend, number)
		case MapRestricted:
			put(frontend, "")
			for _, p := range strings.Fields(e.comment) {
				all["allowed: "+spanText(frontend, p)] = " #"
			}
		case MapEndpoints:
			put(fmt.Sprint(n(0), n(4)), backend)
		case MapStickySlots:
			put(fmt.Sprint(n(0), n(4)), number)
		case MapStickyTargets:
			put(fmt.Sprint(n(0)), backend)
		case MapStickyTwins:
			put(fmt.Sprint(n(0)), number)
		case MapSticky:
			put(fmt.Sprint(n(0)), "")
		case MapHairpins:
			put(ip(e.addr)+" "+ip(e.addr), "")
		default:
			put(ip(e.addr), "")
		}
	}
	b.all(say)
	for _, e := range b.delayed {
		say(e)
	}
	return all
}

// invention is a random World, step by step.
type invention struct {
	rnd      *rand.Rand
	desired  *Desired
	layout   Layout
	universe lbtest.Universe
	node     lb.Node
}

func invent(seed uint64, v6 bool) *invention {
	p := func(s string) netip.Prefix {
		if v6 {
			return sixPrefix(prefix(s))
		}
		return prefix(s)
	}
	some := func(all ...netip.Addr) []netip.Addr {
		if v6 {
			for i := range all {
				all[i] = six(all[i])
			}
		}
		return all
	}
	i := &invention{rnd: rand.New(rand.NewPCG(seed, 0)), desired: NewDesired(), universe: lbtest.Universe{
		Services: p("10.96.0.0/16"), Nodes: []string{"n1", "n2"}, Zones: []string{"a", ""}, Ports: []int32{8080, 65535},
		Here: some(podA, podB), Away: some(podFar, podFar2), Abroad: some(outsideIP), External: some(outerIP, outsideIP),
		Sources: []netip.Prefix{p("10.0.0.0/8"), p("10.244.1.0/24"), p("198.51.100.0/24")},
	}}
	i.node = lb.Node{Name: "n1", Addrs: some(nodeIP), IPv6: v6, Engine: lb.EngineIPv4}
	if v6 {
		i.node.Engine = lb.EngineIPv6
	}
	i.layout = Layout{Family: NewFamily(v6), ClusterCIDR: p("10.244.0.0/16"), LocalPods: p("10.244.1.0/24"), ServiceCIDR: p("10.96.0.0/16")}
	i.layout.Engine = i.node.Engine.Addr()
	i.desired.LocalPods = i.layout.LocalPods
	return i
}

// step changes some Services; now and then one gets very many endpoints.
func (i *invention) step() error {
	for range 1 + i.rnd.IntN(12) {
		n := i.rnd.IntN(16)
		rows := lb.Rows{Service: types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", n)}}
		if i.rnd.IntN(5) > 0 {
			rows = lb.Derive(i.universe.Service(i.rnd, n), i.universe.Slices(i.rnd, n), i.node)
		}
		if many := i.rnd.IntN(3000); i.rnd.IntN(20) == 0 && len(rows.Sets) > 0 {
			s := &rows.Sets[0]
			s.Backends, s.Verdict = nil, lb.Forward
			for k := range 1 + many {
				s.Backends = append(s.Backends, lb.Backend{Addr: netip.AddrPortFrom(i.universe.Here[0], uint16(1+k))})
			}
		}
		if _, _, err := i.desired.Update(rows); err != nil {
			return err
		}
	}
	return nil
}

// FuzzEncode holds what transactions say against what the state means: the whole
// table first, then differences.
func FuzzEncode(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, seed%2 == 1)
	}
	f.Fuzz(func(t *testing.T, seed uint64, v6 bool) {
		i := invent(seed, v6)
		said, first := &told{v6: v6, tells: map[string]string{}}, uint32(seed)
		for n := range 4 {
			if err := i.step(); err != nil {
				t.Fatal(err)
			}
			d := i.desired.Take()
			tx := Change(i.layout.Family, i.desired, d)
			if n == 0 {
				tx = Whole(i.layout, i.desired, i.desired.Rewrite(), 0, Contents{}, false)
			}
			if tx.IsEmpty() {
				continue
			}
			last := tx.Finish(first)
			if err := said.hear(tx.Bytes(), first); err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
			first = last + 2
			i.desired.Committed()
			if want := meant(i.desired, v6); !maps.Equal(said.tells, want) {
				t.Fatalf("step %d: %s", n, unlike(said.tells, want))
			}
		}
	})
}

// unlike says where two tellings differ.
func unlike(got, want map[string]string) string {
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			return fmt.Sprintf("%s is %q, should be %q", k, g, v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			return fmt.Sprintf("%s is %q and should not be", k, v)
		}
	}
	return ""
}
