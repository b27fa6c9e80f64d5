package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
)

// Password is what is known of a Secret that a BGPPeer names.
type Password struct {
	Text    string
	Problem string // why there is none
}

// Selected are the BGPPeers that a node is to have a session with.
func Selected(node *corev1.Node, all []*kinds.BGPPeer) []*kinds.BGPPeer {
	return slices.DeleteFunc(slices.Clone(all), func(p *kinds.BGPPeer) bool { return !p.Selects(node.Labels) })
}

// Wishes is what a node tells which routers: of the addresses it is to announce, for each router those of its pools. The problems say why
// there is no session with a BGPPeer that is for this node.
func Wishes(node *corev1.Node, peers []*kinds.BGPPeer, pools []*kinds.AddressPool, passwords map[string]Password, announced map[netip.Addr]bool) (wishes []Wish, problems map[string]string) {
	problems = map[string]string{}
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b *kinds.BGPPeer) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	ranges, routers := rangesOf(pools), map[netip.AddrPort]string{}
	for _, p := range peers {
		wish, problem := Wish{Peer: peerOf(node, p)}, ""
		if s := p.Spec.PasswordSecret; s != nil {
			wish.Peer.Password, problem = passwords[s.Name].Text, passwords[s.Name].Problem
		}
		at := wish.Peer.At()
		if elder, taken := routers[at]; taken {
			problem = fmt.Sprintf("router %s is that of BGPPeer %s already, which is older", at, elder)
		}
		if problem != "" {
			problems[p.Name] = problem
			continue
		}
		routers[at] = p.Name
		for _, addr := range slices.SortedFunc(maps.Keys(announced), netip.Addr.Compare) {
			if r, told := route(p, addr, announced[addr], ranges); told {
				wish.Routes = append(wish.Routes, r)
			}
		}
		wishes = append(wishes, wish)
	}
	return wishes, problems
}

// pool is an AddressPool with its ranges read.
type pool struct {
	*kinds.AddressPool
	ranges alloc.Ranges
}

func rangesOf(pools []*kinds.AddressPool) []pool {
	var all []pool
	for _, p := range pools {
		if ranges, err := alloc.ParseRanges(p.Spec.Addresses); err == nil { // nothing else is stored
			all = append(all, pool{p, ranges})
		}
	}
	return all
}

// route is what a router is told of an address, if anything. An address of no pool is somebody else's, unless it is an external IP.
func route(p *kinds.BGPPeer, addr netip.Addr, external bool, pools []pool) (Route, bool) {
	r := Route{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
	i := slices.IndexFunc(pools, func(o pool) bool { return o.ranges.Contains(addr) })
	switch {
	case i < 0:
		return r, external && len(p.Spec.Pools) == 0
	case !pools[i].Announces(kinds.AnnounceBGP):
		return r, false
	case len(p.Spec.Pools) == 0:
		return r, true
	}
	for _, named := range p.Spec.Pools {
		if named.Name == pools[i].Name {
			r.Communities = strings.Join(named.Communities, " ")
			if named.LocalPreference != nil {
				r.LocalPref = uint32(*named.LocalPreference)
			}
			return r, true
		}
	}
	return r, false
}

// peerOf is a BGPPeer as a node has a session with it.
func peerOf(node *corev1.Node, p *kinds.BGPPeer) Peer {
	s := &p.Spec
	peer := Peer{Name: p.Name, Port: uint16(s.PeerPort), ASN: uint32(s.PeerASN), LocalASN: uint32(s.LocalASN)}
	peer.Addr, _ = netip.ParseAddr(s.PeerAddress) // the API takes nothing else
	if s.HoldTimeSeconds != nil {
		peer.HoldTime = time.Duration(*s.HoldTimeSeconds) * time.Second
	}
	if s.Multihop != nil {
		peer.Hops = uint8(*s.Multihop)
	}
	if s.GracefulRestartSeconds != nil {
		peer.Restart = time.Duration(*s.GracefulRestartSeconds) * time.Second
	}
	four, six := addressesOf(node)
	if peer.Addr.Is6() {
		peer.NextHop4 = four
	} else {
		peer.NextHop6 = six
	}
	if id, err := netip.ParseAddr(s.RouterID); err == nil {
		peer.RouterID = id
	} else {
		peer.RouterID = routerID(node.Name, four)
	}
	return peer
}

// addressesOf are the first addresses of a node of each family.
func addressesOf(node *corev1.Node) (four, six netip.Addr) {
	for _, a := range api.InternalIPs(node) {
		switch {
		case a.Is4() && !four.IsValid():
			four = a
		case a.Is6() && !six.IsValid():
			six = a
		}
	}
	return four, six
}

// routerID is what identifies a node: its IPv4 address, or else a number made of its name, which is as unlikely to be another node's
// as numbers of 32 bits are, and never 0 (RFC 6286).
func routerID(name string, four netip.Addr) netip.Addr {
	if four.Is4() {
		return four
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it never fails
	n := h.Sum32() | 1
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
