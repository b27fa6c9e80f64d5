package netfilter

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/wire"
)

// Messages and attributes of ctnetlink, which x/sys does not have.
const (
	ctNew          = 0 // IPCTNL_MSG_CT_NEW
	ctGet          = 1 // IPCTNL_MSG_CT_GET
	ctDelete       = 2 // IPCTNL_MSG_CT_DELETE
	ctaTupleOrig   = 1
	ctaTupleReply  = 2
	ctaMark        = 8
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

// Flow is a conntrack entry: who sent its packets where, and who answers. Ports are 0 where a protocol has none.
type Flow struct {
	Protocol                  uint8
	Source, Dest, ReplySource netip.AddrPort
	Mark                      uint32
	Tuple                     []byte // the original tuple's attributes; aliases the read buffer
}

// Flows passes every flow of a family, as netfilter numbers it, to each. The kernel is asked for one protocol only, if one is given; one
// before 5.8 does not listen and sends everything, so the protocol is checked here too.
func (s *Socket) Flows(family, protocol uint8, each func(Flow)) error {
	host32 := func(kind uint16, v uint32) wire.Attr {
		return wire.Attr{Kind: kind, Data: binary.NativeEndian.AppendUint32(nil, v)}
	}
	var filter []wire.Attr
	if protocol != 0 {
		filter = []wire.Attr{
			wire.Nest(ctaTupleOrig, wire.Nest(ctaTupleProto, wire.Raw(ctaProtoNum, []byte{protocol}))),
			wire.Nest(ctaFilter, host32(ctaFilterOrig, filterProtoNum), host32(ctaFilterReply, 0)),
		}
	}
	err := s.Request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctGet, unix.NLM_F_DUMP, family, func(m Message) error {
		var f Flow
		for a := range wire.Attributes(m.Body) {
			switch a.Kind {
			case ctaTupleOrig:
				t := parseTuple(family, a.Data)
				f.Protocol, f.Source, f.Dest, f.Tuple = t.proto, t.source, t.dest, a.Data
			case ctaTupleReply:
				f.ReplySource = parseTuple(family, a.Data).source
			case ctaMark:
				f.Mark = wire.Number(a.Data)
			}
		}
		if protocol == 0 || f.Protocol == protocol {
			each(f)
		}
		return nil
	}, filter...)
	if err != nil {
		return fmt.Errorf("read conntrack: %w", err)
	}
	return nil
}

// DeleteFlow deletes the flow with an original tuple. ENOENT says that it has ended by itself.
func (s *Socket) DeleteFlow(family uint8, tuple []byte) error {
	err := s.Request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctDelete, 0, family,
		func(Message) error { return nil }, wire.Raw(ctaTupleOrig|unix.NLA_F_NESTED, tuple))
	if err != nil {
		return fmt.Errorf("delete conntrack entry: %w", err)
	}
	return nil
}

// MarkFlow gives the flow with an original tuple a mark. ENOENT says that it has ended by itself.
func (s *Socket) MarkFlow(family uint8, tuple []byte, mark uint32) error {
	err := s.Request(unix.NFNL_SUBSYS_CTNETLINK<<8|ctNew, 0, family,
		func(Message) error { return nil }, wire.Raw(ctaTupleOrig|unix.NLA_F_NESTED, tuple), wire.U32(ctaMark, mark))
	if err != nil {
		return fmt.Errorf("mark conntrack entry: %w", err)
	}
	return nil
}

type tuple struct {
	source, dest netip.AddrPort
	proto        byte
}

func parseTuple(family uint8, p []byte) tuple {
	source, dest := uint16(1), uint16(2) // CTA_IP_V4_SRC, CTA_IP_V4_DST
	if family == unix.NFPROTO_IPV6 {
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
