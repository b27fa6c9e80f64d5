package plan

import (
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Feature is something that the rules need of the kernel.
type Feature struct {
	What   string
	Since  string // the first Linux with it
	Option string // of the kernel's configuration
	// kind is where its rule is, as a chain of the kind; without a kind the rule is in a chain that is jumped to.
	kind string
	rule func(*Family) rule.Rule
	with func(*Transaction) // what the rule needs besides
}

// Features are those without which nothing can be written. That of a later
// Linux than 5.10 is not among them: the Proxy does without.
func Features() []Feature {
	counted := func(tx *Transaction) { tx.counters = true; tx.mapMessage(MapEndpoints, 16) }
	pick := func(f *Family, number rule.Field) rule.Rule {
		return rule.Join(rule.Transport(lb.TCP, lb.UDP), rule.Lookup(MapEndpoints.String(), rule.Reg1, rule.CtMark(), number), f.Dnat())
	}
	sources := func(f *Family) rule.Rule {
		return rule.Join(rule.InSet(MapAllowed.String(), true, append(f.frontend(), f.Saddr())...), rule.Drop())
	}
	return []Feature{
		{What: "marks of packets and of connections", Since: "3.14", Option: "NFT_CT", rule: func(*Family) rule.Rule { return rule.Join(rule.SetCtMark(rule.Load(rule.Mark()))) }},
		{What: "destinations from a map, at random, with counters", Since: "5.7", Option: "NFT_NAT, NFT_NUMGEN", kind: "nat", with: counted,
			rule: func(f *Family) rule.Rule { return pick(f, rule.Numgen(unix.NFT_NG_RANDOM, 2)) }},
		{What: "numbers from a client's address", Since: "4.9", Option: "NFT_HASH", with: func(tx *Transaction) { tx.mapMessage(MapEndpoints, 16) }, kind: "nat",
			rule: func(f *Family) rule.Rule { return pick(f, rule.Hash(f.Saddr(), 2, hashSeed)) }},
		{What: "masquerading", Since: "3.18", Option: "NFT_MASQ", kind: "masquerade", rule: func(*Family) rule.Rule { return rule.Join(rule.Masquerade()) }},
		{What: "refusals before routing", Since: "5.9", Option: "NFT_REJECT", kind: "nat", rule: func(f *Family) rule.Rule { return rule.Join(f.RejectICMP()) }},
		Feature{What: "packets that are not tracked", Since: "4.9", Option: "NFT_CT", kind: "raw"}.Expression("notrack"),
		{What: "the socket a packet is for", Since: "5.10", Option: "NFT_SOCKET", kind: "raw", rule: func(*Family) rule.Rule { return rule.Join(rule.HasSocket(rule.SocketWildcard), rule.Notrack()) }},
		{What: "ranges within a key", Since: "5.6", Option: "NF_TABLES", rule: sources, with: func(tx *Transaction) { tx.mapMessage(MapAllowed, 16) }},
		{What: "maps that rules write", Since: "5.5", Option: "NF_TABLES", with: (*Transaction).affinityMessage,
			rule: func(f *Family) rule.Rule {
				return rule.Join(rule.Dynset(rule.DynsetDelete, AffinityMap, 0, rule.Mark(), rule.CtMark(), f.Saddr()))
			}},
	}
}

// Expression returns the feature as the one of having an expression without attributes.
func (w Feature) Expression(name string) Feature {
	w.rule = func(*Family) rule.Rule { return rule.Rule{{Name: name}} }
	return w
}

// Try returns the transaction that writes the feature's rule in a table of its own and
// deletes it again. It is for a network namespace in which nothing else is.
func (w Feature) Try(f *Family) *Transaction {
	tx := newTransaction(f, 0)
	tx.Message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+TableName, wire.Text(unix.NFTA_TABLE_NAME, TableName))
	c := map[string]rule.Chain{
		"":           {},
		"nat":        {Kind: "nat", Hook: unix.NF_INET_PRE_ROUTING, Priority: -100},
		"masquerade": {Kind: "nat", Hook: unix.NF_INET_POST_ROUTING, Priority: 100},
		"raw":        {Kind: "filter", Hook: unix.NF_INET_PRE_ROUTING, Priority: -300},
	}[w.kind]
	c.Name = "try"
	if w.with != nil {
		w.with(tx)
	}
	tx.ChainMessage(c)
	tx.RuleMessage(c.Name, w.rule(f))
	tx.DeleteTable()
	return tx
}
