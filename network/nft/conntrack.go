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
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/nft/wire"
)

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
func (c *cleaner) add(all []plan.Flows) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range all {
		c.pending[f.At] = f.Serving
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
	for _, f := range []*plan.Family{plan.NewFamily(false), plan.NewFamily(true)} {
		for at := range allowed {
			if !f.Has(at.Addr()) {
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

func (c *cleaner) cutFamily(family *plan.Family, allowed map[netip.AddrPort][]netip.AddrPort) (int, error) {
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
		err := c.socket.request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctDelete, 0, family.Protocol,
			func(message) error { return nil }, wire.Raw(ctaTupleOrig|unix.NLA_F_NESTED, tuple))
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
func (s *socket) dumpUDP(family *plan.Family, each func(flow)) error {
	host32 := func(kind uint16, v uint32) wire.Attr {
		return wire.Attr{Kind: kind, Data: binary.NativeEndian.AppendUint32(nil, v)}
	}
	return s.request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctGet, unix.NLM_F_DUMP, family.Protocol, func(m message) error {
		var f flow
		udp := false
		for a := range wire.Attributes(m.body) {
			switch a.Kind {
			case ctaTupleOrig:
				t := parseTuple(family, a.Data)
				udp = t.proto == byte(lb.UDP)
				f.dest, f.tuple = t.dest, a.Data
			case ctaTupleReply:
				f.replySource = parseTuple(family, a.Data).source
			}
		}
		if udp {
			each(f)
		}
		return nil
	},
		wire.Nest(ctaTupleOrig, wire.Nest(ctaTupleProto, wire.Raw(ctaProtoNum, []byte{byte(lb.UDP)}))),
		wire.Nest(ctaFilter, host32(ctaFilterOrig, filterProtoNum), host32(ctaFilterReply, 0)))
}

type tuple struct {
	source, dest netip.AddrPort
	proto        byte
}

func parseTuple(f *plan.Family, p []byte) tuple {
	source, dest := uint16(1), uint16(2) // CTA_IP_V4_SRC, CTA_IP_V4_DST
	if f.V6 {
		source, dest = 3, 4
	}
	var t tuple
	var src, dst netip.Addr
	var sport, dport uint16
	for group := range wire.Nested(p) {
		for a := range wire.Nested(group.Data) {
			switch {
			case group.Kind == ctaTupleIP && a.Kind == source:
				src, _ = netip.AddrFromSlice(a.Data)
			case group.Kind == ctaTupleIP && a.Kind == dest:
				dst, _ = netip.AddrFromSlice(a.Data)
			case group.Kind == ctaTupleProto && a.Kind == ctaProtoNum && len(a.Data) == 1:
				t.proto = a.Data[0]
			case group.Kind == ctaTupleProto && a.Kind == ctaProtoSrc && len(a.Data) == 2:
				sport = binary.BigEndian.Uint16(a.Data)
			case group.Kind == ctaTupleProto && a.Kind == ctaProtoDst && len(a.Data) == 2:
				dport = binary.BigEndian.Uint16(a.Data)
			}
		}
	}
	t.source, t.dest = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return t
}
