package nft

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
)

// feature is something that the rules need of the kernel.
type feature struct {
	what   string
	since  string // the first Linux with it
	option string // of the kernel's configuration
	// hook is where its rule is, as a chain of the kind; without a kind the rule is in a chain that is jumped to.
	kind string
	rule func(*family) rule
	with func(*batch) // what the rule needs besides
}

// features are those without which nothing can be written. That of a later
// Linux than 5.10 is not among them: the Proxy does without.
func features() []feature {
	counted := func(tx *batch) { tx.counters = true; tx.mapMessage(endpoints, 16) }
	pick := func(f *family, number field) rule {
		return join(transport(lb.TCP, lb.UDP), lookup(endpoints.String(), reg1, ctMark(), number), f.dnat())
	}
	sources := func(f *family) rule {
		return join(inSet(allowed.String(), true, append(f.frontend(), f.saddr())...), drop())
	}
	return []feature{
		{what: "marks of packets and of connections", since: "3.14", option: "NFT_CT", rule: func(*family) rule { return join(setCtMark(load(mark()))) }},
		{what: "destinations from a map, at random, with counters", since: "5.7", option: "NFT_NAT, NFT_NUMGEN", kind: "nat", with: counted,
			rule: func(f *family) rule { return pick(f, numgen(unix.NFT_NG_RANDOM, 2)) }},
		{what: "numbers from a client's address", since: "4.9", option: "NFT_HASH", with: func(tx *batch) { tx.mapMessage(endpoints, 16) }, kind: "nat",
			rule: func(f *family) rule { return pick(f, hash(f.saddr(), 2, hashSeed)) }},
		{what: "masquerading", since: "3.18", option: "NFT_MASQ", kind: "masquerade", rule: func(*family) rule { return join(masquerade()) }},
		{what: "refusals before routing", since: "5.9", option: "NFT_REJECT", kind: "nat", rule: func(f *family) rule { return join(f.rejectICMP()) }},
		{what: "packets that are not tracked", since: "4.9", option: "NFT_CT", kind: "raw", rule: func(*family) rule { return join(notrack()) }},
		{what: "the socket a packet is for", since: "5.10", option: "NFT_SOCKET", kind: "raw", rule: func(*family) rule { return join(hasSocket(socketWildcard), notrack()) }},
		{what: "ranges within a key", since: "5.6", option: "NF_TABLES", rule: sources, with: func(tx *batch) { tx.mapMessage(allowed, 16) }},
		{what: "maps that rules write", since: "5.5", option: "NF_TABLES", with: (*batch).affinityMessage,
			rule: func(f *family) rule { return join(dynset(dynsetDelete, affinityMap, 0, mark(), ctMark(), f.saddr())) }},
	}
}

// try writes the feature's rule in a table of its own. It is for a network
// namespace in which nothing else is.
func (w feature) try(s *socket, f *family) error {
	tx := newTransaction(f, 0)
	tx.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+tableName, text(unix.NFTA_TABLE_NAME, tableName))
	c := map[string]chain{
		"":           {},
		"nat":        {kind: "nat", hook: unix.NF_INET_PRE_ROUTING, priority: -100},
		"masquerade": {kind: "nat", hook: unix.NF_INET_POST_ROUTING, priority: 100},
		"raw":        {kind: "filter", hook: unix.NF_INET_PRE_ROUTING, priority: -300},
	}[w.kind]
	c.name = "try"
	if w.with != nil {
		w.with(tx)
	}
	tx.chainMessage(c)
	tx.ruleMessage(c.name, w.rule(f))
	tx.deleteTable()
	return s.commit(tx)
}

// lacking returns those features that the kernel does not have for the family.
// It tries them in a network namespace of its own, which ends with it.
func lacking(f *family, all []feature) (missing []feature, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and its namespace
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("network namespace to try the kernel in: %w", err)
			return
		}
		var s *socket
		if s, err = dial(); err != nil {
			return
		}
		defer s.close()
		for _, w := range all {
			if w.try(s, f) != nil {
				missing = append(missing, w)
			}
		}
	}()
	<-done
	return missing, err
}

// CheckKernel returns an error that names what this kernel lacks for Services of
// the IP version, and the first Linux that has it.
func CheckKernel(v6 bool) error { return explain(newFamily(v6), features()) }

func explain(f *family, all []feature) error {
	missing, err := lacking(f, all)
	if err != nil || len(missing) == 0 {
		return err
	}
	var lines []string
	for _, w := range missing {
		lines = append(lines, fmt.Sprintf("%s (Linux %s or newer with %s)", w.what, w.since, w.option))
	}
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail
	return fmt.Errorf("this kernel, Linux %s, lacks for table %s: %s", unix.ByteSliceToString(u.Release[:]), f, strings.Join(lines, ", "))
}

// explained adds to the error of a whole table why the kernel may have refused it.
func explained(f *family, err error) error {
	for _, code := range []error{unix.EOPNOTSUPP, unix.ENOENT, unix.EINVAL, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT} {
		if errors.Is(err, code) {
			return errors.Join(err, explain(f, features()))
		}
	}
	return err
}
