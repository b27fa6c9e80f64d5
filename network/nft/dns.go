package nft

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// Queries to the cluster DNS address are for this node's own server as long as
// it lives, and are then kept out of conntrack: there is nothing to translate,
// and without an entry per query there is no insertion race and no full table.
// When the server does not live they are an ordinary Service's connections, to
// the servers of the other nodes. Nobody has to notice that a process died:
//
//   - a query that arrives from a pod is the server's if the kernel finds a
//     socket bound to the address, and a dead process has none;
//   - the node's own queries leave through a hook where the kernel knows the
//     client's socket only. They are the server's for as long as it was heard
//     lately: it sends itself a datagram every quarter of a second, and each
//     renews the element of this set, which else runs out. A server that stops
//     in good order sends one to another port.
const (
	answeringSet  = "answering"
	answeringLast = 2 * time.Second
)

func dnsPort() []byte { return []byte{0, 53} }

// farewellPort is that of the discard service: the server's last datagram.
func farewellPort() []byte { return []byte{0, 9} }

// untrackedIn is about what arrives.
func (l layout) untrackedIn() []rule {
	dns := l.dns
	saddr, daddr := l.family.saddr(), l.family.daddr()
	if !dns.IsValid() {
		return nil
	}
	both := transport(lb.TCP, lb.UDP)
	return []rule{
		join(is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.UDP)}), is(dport(), dnsPort()), hasSocket(socketWildcard), notrack()),
		join(is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.TCP)}), is(dport(), dnsPort()), hasSocket(socketTransparent), notrack()),
		join(is(saddr, dns.AsSlice()), both, is(sport(), dnsPort()), notrack()),
	}
}

// untrackedOut is about what this node sends.
func (l layout) untrackedOut() []rule {
	dns := l.dns
	saddr, daddr := l.family.saddr(), l.family.daddr()
	if !dns.IsValid() {
		return nil
	}
	both := transport(lb.TCP, lb.UDP)
	toItself := join(is(saddr, dns.AsSlice()), is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.UDP)}), is(sport(), dnsPort()))
	return []rule{
		join(toItself, is(dport(), farewellPort()), append(load(saddr), touch(dynsetDelete, answeringSet))),
		join(toItself, is(dport(), dnsPort()), append(load(saddr), touch(dynsetUpdate, answeringSet))),
		join(is(saddr, dns.AsSlice()), both, is(sport(), dnsPort()), notrack()),
		join(inSet(answeringSet, false, daddr), both, is(dport(), dnsPort()), notrack()),
	}
}

// dnsUnanswered says what becomes of a packet to the DNS address that no class
// took, because there is no other node. The node's own go where the address is,
// to the server if it lives; a pod's query gets no reply rather than a refusal,
// so that the pod asks again when the server is back, a moment later.
func (l layout) dnsUnanswered() []rule {
	dns, daddr := l.dns, l.family.daddr()
	if !dns.IsValid() {
		return nil
	}
	const loopback = 1 // the index of lo in every network namespace
	lo := meta(unix.NFT_META_OIF, 4)
	return []rule{
		join(is(daddr, dns.AsSlice()), is(lo, native(loopback)), verdict(unix.NFT_RETURN, "")),
		join(is(daddr, dns.AsSlice()), transport(lb.TCP, lb.UDP), is(dport(), dnsPort()), drop()),
		join(is(daddr, dns.AsSlice()), gotoChain(chainRefuse)),
	}
}

// What can be asked about the socket that waits for a packet. Whether it is
// bound to all addresses is not known of a TCP connection that is just being
// opened, so of TCP something is asked that is never true.
const (
	socketTransparent = 0
	socketWildcard    = 2
)

// hasSocket matches a packet for which a socket waits that lacks the property.
func hasSocket(without uint32) []expr {
	const attrKey, attrDreg = 1, 2
	property := field{size: 1, load: func(reg uint32) []expr {
		return []expr{{name: "socket", attrs: []attr{be32(attrKey, without), be32(attrDreg, reg)}}}
	}}
	return is(property, []byte{0})
}

// touch adds the key in register 1 to a set or begins its time anew, or deletes
// it.
func touch(op uint32, set string) expr {
	return expr{name: "dynset", attrs: []attr{text(unix.NFTA_DYNSET_SET_NAME, set),
		be32(unix.NFTA_DYNSET_OP, op), be32(unix.NFTA_DYNSET_SREG_KEY, reg1)}}
}

// answeringMessage adds the set that the server's datagrams keep filled.
func (b *batch) answeringMessage() {
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "set "+answeringSet,
		text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, answeringSet),
		be32(unix.NFTA_SET_FLAGS, unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		be32(unix.NFTA_SET_KEY_TYPE, b.family.addrType), be32(unix.NFTA_SET_KEY_LEN, b.family.addrLen), b.nextSetID(),
		be64(unix.NFTA_SET_TIMEOUT, uint64(answeringLast.Milliseconds())),
		nest(unix.NFTA_SET_DESC, be32(unix.NFTA_SET_DESC_SIZE, 16)),
		raw(unix.NFTA_SET_USERDATA, unhex(plainSet)))
}

// service is what the World says of a Service, and of the DNS Service what it
// means here: only the other nodes' servers, and nothing if there are none of
// this family. Its label that keeps proxies away is for those that do not serve
// it themselves.
func (p *Proxy) service(f *family, name types.NamespacedName) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	service, all := p.world.Service(name)
	if service == nil || !slices.Contains(p.dns, service.Spec.ClusterIP) {
		return service, all
	}
	elsewhere, others := make([]*discoveryv1.EndpointSlice, len(all)), 0
	for i, s := range all {
		s = s.DeepCopy()
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool {
			return e.NodeName != nil && *e.NodeName == p.cfg.NodeName
		})
		elsewhere[i] = s
		if (s.AddressType == discoveryv1.AddressTypeIPv6) == f.v6 {
			others += len(s.Endpoints)
		}
	}
	if others == 0 {
		return nil, nil
	}
	service = service.DeepCopy()
	maps.DeleteFunc(service.Labels, func(label, _ string) bool { return label == api.LabelServiceProxyName })
	return service, elsewhere
}
