package plan

import (
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/network/lb"
)

// Flows is a UDP frontend and the endpoints its existing flows may stay on.
//
// TCP connections end by themselves and are left alone (rule P84). A UDP flow
// lasts as long as its client keeps sending, and conntrack keeps sending it to
// where the first packet went, so flows to endpoints that are gone, and flows
// that began before there was anything to translate, have to be cut.
type Flows struct {
	At      netip.AddrPort
	Serving []netip.AddrPort // by address
}

func flowsOf(rows *lb.Rows) []Flows {
	var all []Flows
	for _, f := range rows.Frontends {
		if f.Proto != lb.UDP {
			continue
		}
		i := slices.IndexFunc(rows.Serving, func(s lb.Serving) bool { return s.Port == f.Port })
		if i >= 0 {
			all = append(all, Flows{At: f.Addr, Serving: rows.Serving[i].Endpoints})
		}
	}
	return all
}

// OwnFlows are those of the frontends that a Service has itself: flows to an
// address that an elder has are none of its business.
func (b *Desired) OwnFlows(s *Service) []Flows {
	if s == nil {
		return nil
	}
	if !b.claims.Contested() {
		return s.flows
	}
	var own []Flows
	for _, f := range s.flows {
		if b.ownerOf(lb.Address{Addr: f.At, Proto: lb.UDP}) == s {
			own = append(own, f)
		}
	}
	return own
}

// InheritedFlows are those of addresses that went from one Service to another:
// they may stay where the new owner has them only.
func (b *Desired) InheritedFlows(moved []lb.Transfer) []Flows {
	var all []Flows
	for _, m := range moved {
		if m.Address.Proto != lb.UDP {
			continue
		}
		of := b.services[m.To].flows
		if i := slices.IndexFunc(of, func(f Flows) bool { return f.At == m.Address.Addr }); i >= 0 {
			all = append(all, of[i])
		}
	}
	return all
}

// ToCut returns the frontends some of whose flows may be wrong now. An endpoint
// added beside others makes no flow wrong.
func ToCut(before, after []Flows) []Flows {
	var cut []Flows
	find := func(all []Flows, at netip.AddrPort) *Flows {
		if i := slices.IndexFunc(all, func(f Flows) bool { return f.At == at }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	for _, b := range before {
		if find(after, b.At) == nil {
			cut = append(cut, Flows{At: b.At}) // rule P83: a deleted Service as well
		}
	}
	for _, a := range after {
		b := find(before, a.At)
		if b == nil || len(b.Serving) == 0 || slices.ContainsFunc(b.Serving, func(e netip.AddrPort) bool {
			return !slices.Contains(a.Serving, e)
		}) {
			cut = append(cut, a)
		}
	}
	return cut
}
