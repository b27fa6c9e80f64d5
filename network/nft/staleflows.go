package nft

import (
	"net/netip"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/nft/plan"
)

// Frontends that went while no Proxy ran are in no state that anybody desires: only the table that
// the last one left still knows them. Who begins therefore asks it about the
// UDP flows that there are, before the table is replaced. Nothing is guessed from
// addresses, so what others translate is never touched; and the map is asked
// for single keys, which costs the same however large it is.

// staleFlows returns those frontends of the table in the kernel that have UDP
// flows, as if none of them served any more. That is true of those that nobody
// adds to the next transaction's cuts again.
func (s *socket) staleFlows(f *plan.Family) ([]plan.Flows, error) {
	translated := map[netip.AddrPort]struct{}{}
	err := s.Flows(f.Protocol, byte(lb.UDP), func(flow netfilter.Flow) {
		if flow.ReplySource != flow.Dest {
			translated[flow.Dest] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	var found []plan.Flows
	for at := range translated {
		if s.holds(f, plan.FrontendKey(plan.MapServices, at, lb.UDP)) {
			found = append(found, plan.Flows{At: at})
		}
	}
	return found, nil
}

// takeOver has the flows cut that the table's previous owner left to nobody.
func (t *table) takeOver() {
	gone, err := t.applied.socket.staleFlows(t.family)
	if err != nil {
		t.proxy.log.Error("cannot look for UDP flows of services that are gone", "table", t.family, "err", err)
	}
	t.cut = append(gone, t.cut...) // the later entry of a frontend counts
}
