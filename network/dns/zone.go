package dns

import (
	"encoding/binary"
	"net/netip"

	"fairlead.dev/fairlead/network/world"
)

// Zone is everything the server says about the cluster at one moment. It is immutable: the server
// holds the newest one behind an atomic pointer.
type Zone struct {
	domain name
	names  table[name, *node]
	addrs  table[netip.Addr, []belongs]
	upTo   world.Revisions // what it is made of
	synced bool            // the first full lists have arrived: what is not here does not exist
	soa    string          // the data of the SOA record
}

// newZone returns the zone of a cluster without Services, not yet synced. self are the addresses
// the zone's name server answers on.
func newZone(domain name, self []netip.Addr) *Zone {
	z := &Zone{domain: domain, soa: soaData(domain, 0)}
	names := z.names.edit()
	add := func(n *node, labels ...string) {
		at := domain
		for _, l := range labels {
			at, _ = at.child(l)
		}
		names.set(hashName(at), at, n)
	}
	add(apex(domain, z.soa, self))
	add(emptyNode, "svc")
	add(emptyNode, "pod")
	add(emptyNode, "dns")
	if len(self) > 0 {
		add(&node{sets: addrSets(self)}, "dns", "ns")
	}
	add(&node{sets: []rrset{dataSet(typeTXT, ttlVersion, "\x051.1.0")}}, "dns-version") // rule N1
	z.names = names.publish()
	return z
}

// soaData is the data of the SOA record. Negative answers may be kept as long as positive ones: its
// minimum is the TTL (rule N31, RFC 2308).
func soaData(domain name, serial uint32) string {
	server, _ := domain.child("dns")
	server, _ = server.child("ns")
	mailbox, _ := domain.child("hostmaster")
	b := append([]byte(server), mailbox...)
	for _, v := range []uint32{serial, 7200, 1800, 86400, ttl} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// apex is rule N39: the zone's own name, with its SOA and its name server's addresses.
func apex(domain name, soa string, self []netip.Addr) *node {
	server, _ := domain.child("dns")
	server, _ = server.child("ns")
	ns := dataSet(typeNS, ttl, string(server))
	ns.addGlue([]target{{host: server, addrs: self}}, []int{headerSize + len(domain) + 4 + rrFixed})
	return &node{sets: []rrset{ns, dataSet(typeSOA, ttl, soa)}}
}

// find returns the stored node of n, or nil.
func (z *Zone) find(n name) *node {
	at, _ := z.names.get(hashName(n), n)
	return at
}

// holds reports whether n is the zone's apex or below it.
func (z *Zone) holds(n name) bool {
	for len(n) > len(z.domain) {
		n = n.parent()
	}
	return n == z.domain
}

// located returns the node of a name that is computed rather than stored, or nil: an endpoint below a
// ClusterIP Service, or an address below <namespace>.pod.<zone> (rule N17, "pods insecure").
func (z *Zone) located(n name) *node {
	if len(n) <= len(z.domain) {
		return nil
	}
	above := z.find(n.parent())
	if above == nil {
		return nil
	}
	var addrs []netip.Addr
	for _, h := range above.hosts {
		if h.label == n.label() {
			addrs = append(addrs, h.addr)
		}
	}
	if above.pods {
		if ip, ok := undashed(n.label()); ok {
			addrs = append(addrs, ip)
		}
	}
	if addrs == nil {
		return nil
	}
	return &node{sets: addrSets(addrs)}
}
