package table

import (
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/policy"
)

// CutMark is the conntrack mark of connections that were let pass and are not any more. Sets of Services have smaller numbers.
const CutMark = 0x0fa17edd

const chainCut = "cut"

// chains are all, those that are jumped to first: a base chain acts from the moment it is there.
func chains(f *rule.Family) []rule.Chain {
	const established, related = 2, 4
	all := []rule.Chain{{Name: chainCut, Rules: []rule.Rule{rule.Join(rule.RejectTCP()), rule.Join(f.Prohibited())}}}
	all = append(all, direction(policy.Ingress, f.Daddr(), f.Saddr(), f.Prohibited())...)
	all = append(all, direction(policy.Egress, f.Saddr(), f.Daddr(), f.Prohibited())...)
	return append(all, rule.Chain{Name: "forward", Kind: "filter", Hook: unix.NF_INET_FORWARD, Rules: []rule.Rule{
		rule.Join(rule.Is(rule.CtMark(), rule.Native(CutMark)), rule.GotoChain(chainCut)),
		rule.Join(rule.HasBit(rule.CtState(), established|related), leave()),
		rule.Join(rule.InSet(self.name, false, f.Saddr(), f.Daddr()), leave()),
		rule.Join(rule.InSet(selected[policy.Egress].name, false, f.Saddr()), rule.Jump(chainOf(policy.Egress))),
		rule.Join(rule.InSet(selected[policy.Ingress].name, false, f.Daddr()), rule.Jump(chainOf(policy.Ingress))),
	}})
}

func chainOf(d policy.Direction) string { return [...]string{"ingress", "egress"}[d] }

// leave goes back to where the direction was entered.
func leave() []rule.Expr { return rule.Verdict(unix.NFT_RETURN, "") }

// direction are the chains that find the port set of a pod and the other side, and judge by it; those that are gone to first.
func direction(d policy.Direction, pod, other rule.Field, prohibited []rule.Expr) []rule.Chain {
	name := chainOf(d)
	group, everybody, judge, refuse := name+"-group", name+"-any", name+"-judge", name+"-refuse"
	passes := rule.Join(rule.SetCtMark(rule.Number(0)), leave())
	return []rule.Chain{
		{Name: refuse, Rules: []rule.Rule{
			rule.Join(rule.InSet(refused[d].name, false, pod), prohibited),
			rule.Join(prohibited),
		}},
		{Name: judge, Rules: []rule.Rule{
			rule.Join(rule.InSet(open.name, false, rule.CtMark()), passes),
			rule.Join(rule.InSet(ports.name, false, rule.CtMark(), rule.L4proto(), rule.Dport()), passes),
			rule.Join(rule.GotoChain(refuse)),
		}},
		{Name: everybody, Rules: []rule.Rule{
			rule.Join(rule.SetCtMark(rule.Lookup(anybody[d].name, rule.Reg1, pod)), rule.GotoChain(judge)),
			rule.Join(rule.GotoChain(refuse)),
		}},
		{Name: group, Rules: []rule.Rule{
			rule.Join(rule.SetCtMark(rule.Lookup(some[d].name, rule.Reg1, rule.CtMark(), pod)), rule.GotoChain(judge)),
			rule.Join(rule.GotoChain(everybody)),
		}},
		{Name: name, Rules: []rule.Rule{
			rule.Join(rule.SetCtMark(rule.Lookup(peers.name, rule.Reg1, other)), rule.GotoChain(group)),
			rule.Join(rule.SetCtMark(rule.Lookup(blocks.name, rule.Reg1, other, pod)), rule.GotoChain(group)),
			rule.Join(rule.GotoChain(everybody)),
		}},
	}
}
