package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
)

// flows is a UDP frontend and the endpoints its existing flows may stay on.
//
// TCP connections end by themselves and are left alone (rule P84). A UDP flow
// lasts as long as its client keeps sending, and conntrack keeps sending it to
// where the first packet went, so flows to endpoints that are gone, and flows
// that began before there was anything to translate, have to be cut.
type flows struct {
	at      netip.AddrPort
	serving []netip.AddrPort // by address
}

func flowsOf(rows *lb.Rows) []flows {
	var all []flows
	for _, f := range rows.Frontends {
		if f.Proto != lb.UDP {
			continue
		}
		i := slices.IndexFunc(rows.Serving, func(s lb.Serving) bool { return s.Port == f.Port })
		if i >= 0 {
			all = append(all, flows{at: f.Addr, serving: rows.Serving[i].Endpoints})
		}
	}
	return all
}

// ownFlows are those of the frontends that a Service has itself: flows to an
// address that an elder has are none of its business.
func (b *book) ownFlows(s *service) []flows {
	if s == nil {
		return nil
	}
	if !b.claims.Contested() {
		return s.flows
	}
	var own []flows
	for _, f := range s.flows {
		if b.ownerOf(lb.Address{Addr: f.at, Proto: lb.UDP}) == s {
			own = append(own, f)
		}
	}
	return own
}

// inheritedFlows are those of addresses that went from one Service to another:
// they may stay where the new owner has them only.
func (b *book) inheritedFlows(moved []lb.Transfer) []flows {
	var all []flows
	for _, m := range moved {
		if m.Address.Proto != lb.UDP {
			continue
		}
		of := b.services[m.To].flows
		if i := slices.IndexFunc(of, func(f flows) bool { return f.at == m.Address.Addr }); i >= 0 {
			all = append(all, of[i])
		}
	}
	return all
}

// toCut returns the frontends some of whose flows may be wrong now. An endpoint
// added beside others makes no flow wrong.
func toCut(before, after []flows) []flows {
	var cut []flows
	find := func(all []flows, at netip.AddrPort) *flows {
		if i := slices.IndexFunc(all, func(f flows) bool { return f.at == at }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	for _, b := range before {
		if find(after, b.at) == nil {
			cut = append(cut, flows{at: b.at}) // rule P83: a deleted Service as well
		}
	}
	for _, a := range after {
		b := find(before, a.at)
		if b == nil || len(b.serving) == 0 || slices.ContainsFunc(b.serving, func(e netip.AddrPort) bool {
			return !slices.Contains(a.serving, e)
		}) {
			cut = append(cut, a)
		}
	}
	return cut
}

// cleaner cuts UDP flows beside the loop that writes rules: reading conntrack
// takes milliseconds on a busy node.
type cleaner struct {
	socket *socket
	wake   chan struct{}

	mu      sync.Mutex // guards below
	pending map[netip.AddrPort][]netip.AddrPort
}

func newCleaner(s *socket) *cleaner {
	return &cleaner{socket: s, wake: make(chan struct{}, 1), pending: map[netip.AddrPort][]netip.AddrPort{}}
}

// add asks for a look at the flows of these frontends. Of two that are the same
// the later counts.
func (c *cleaner) add(all []flows) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range all {
		c.pending[f.at] = f.serving
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next waits for work, does it, and returns how many flows it cut.
func (c *cleaner) next(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.wake:
	}
	c.mu.Lock()
	work := c.pending
	c.pending = map[netip.AddrPort][]netip.AddrPort{}
	c.mu.Unlock()
	return c.cut(work)
}

// cut deletes the UDP flows to the given frontends that are not on one of the
// endpoints given for them.
func (c *cleaner) cut(allowed map[netip.AddrPort][]netip.AddrPort) (int, error) {
	total := 0
	for _, f := range []*family{newFamily(false), newFamily(true)} {
		for at := range allowed {
			if !f.has(at.Addr()) {
				continue
			}
			n, err := c.cutFamily(f, allowed)
			if total += n; err != nil {
				return total, err
			}
			break
		}
	}
	return total, nil
}

func (c *cleaner) cutFamily(family *family, allowed map[netip.AddrPort][]netip.AddrPort) (int, error) {
	var wrong [][]byte // the original tuples
	err := c.socket.dumpUDP(family, func(f flow) {
		if endpoints, ours := allowed[f.dest]; ours && !slices.Contains(endpoints, f.replySource) {
			wrong = append(wrong, slices.Clone(f.tuple))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("read conntrack: %w", err)
	}
	cut := 0
	for _, tuple := range wrong {
		err := c.socket.request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctDelete, 0, family.protocol,
			func(message) error { return nil }, raw(ctaTupleOrig|unix.NLA_F_NESTED, tuple))
		switch {
		case err == nil:
			cut++
		case !errors.Is(err, unix.ENOENT): // it may have ended by itself
			return cut, fmt.Errorf("delete conntrack entry: %w", err)
		}
	}
	return cut, nil
}

// Messages and attributes of ctnetlink, which x/sys does not have.
const (
	ctGet          = 1 // IPCTNL_MSG_CT_GET
	ctDelete       = 2 // IPCTNL_MSG_CT_DELETE
	ctaTupleOrig   = 1
	ctaTupleReply  = 2
	ctaFilter      = 25
	ctaFilterOrig  = 1 // CTA_FILTER_ORIG_FLAGS
	ctaFilterReply = 2
	ctaTupleIP     = 1
	ctaTupleProto  = 2
	ctaProtoNum    = 1
	ctaProtoSrc    = 2
	ctaProtoDst    = 3
	filterProtoNum = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM
)

// flow is a conntrack entry: where its packets were sent, and who answers.
type flow struct {
	dest, replySource netip.AddrPort
	tuple             []byte // the original tuple's attributes; aliases the read buffer
}

// dumpUDP passes every UDP flow of a family to each. The kernel is asked for UDP only;
// one before 5.8 does not listen and sends everything, so the protocol is
// checked here too.
func (s *socket) dumpUDP(family *family, each func(flow)) error {
	host32 := func(kind uint16, v uint32) attr {
		return attr{kind: kind, data: binary.NativeEndian.AppendUint32(nil, v)}
	}
	return s.request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctGet, unix.NLM_F_DUMP, family.protocol, func(m message) error {
		var f flow
		udp := false
		for a := range attributes(m.body) {
			switch a.kind {
			case ctaTupleOrig:
				t := family.parseTuple(a.data)
				udp = t.proto == byte(lb.UDP)
				f.dest, f.tuple = t.dest, a.data
			case ctaTupleReply:
				f.replySource = family.parseTuple(a.data).source
			}
		}
		if udp {
			each(f)
		}
		return nil
	},
		nest(ctaTupleOrig, nest(ctaTupleProto, raw(ctaProtoNum, []byte{byte(lb.UDP)}))),
		nest(ctaFilter, host32(ctaFilterOrig, filterProtoNum), host32(ctaFilterReply, 0)))
}

type tuple struct {
	source, dest netip.AddrPort
	proto        byte
}

func (f *family) parseTuple(p []byte) tuple {
	var t tuple
	var src, dst netip.Addr
	var sport, dport uint16
	for group := range nestedAttributes(p) {
		for a := range nestedAttributes(group.data) {
			switch {
			case group.kind == ctaTupleIP && a.kind == f.ctSource:
				src, _ = netip.AddrFromSlice(a.data)
			case group.kind == ctaTupleIP && a.kind == f.ctDest:
				dst, _ = netip.AddrFromSlice(a.data)
			case group.kind == ctaTupleProto && a.kind == ctaProtoNum && len(a.data) == 1:
				t.proto = a.data[0]
			case group.kind == ctaTupleProto && a.kind == ctaProtoSrc && len(a.data) == 2:
				sport = binary.BigEndian.Uint16(a.data)
			case group.kind == ctaTupleProto && a.kind == ctaProtoDst && len(a.data) == 2:
				dport = binary.BigEndian.Uint16(a.data)
			}
		}
	}
	t.source, t.dest = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return t
}
