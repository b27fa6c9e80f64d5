package zone

import (
	"encoding/binary"
	"net/netip"
)

// Zone is everything the server says about the cluster at one moment. It is immutable: the server
// holds the newest one behind an atomic pointer.
type Zone struct {
	Domain Name
	names  table[Name, *Node]
	addrs  table[netip.Addr, []belongs]
	synced bool   // the first full lists have arrived: what is not here does not exist
	soa    string // the data of the SOA record
}

// newZone returns the zone of a cluster without Services, not yet synced. self are the addresses
// the zone's name server answers on.
func newZone(domain Name, self []netip.Addr) *Zone {
	z := &Zone{Domain: domain, soa: soaData(domain, 0)}
	names := z.names.edit()
	add := func(n *Node, labels ...string) {
		at := domain
		for _, l := range labels {
			at, _ = at.Child(l)
		}
		names.set(hashName(at), at, n)
	}
	add(apex(domain, z.soa, self))
	add(emptyNode, "svc")
	add(emptyNode, "pod")
	add(emptyNode, "dns")
	if len(self) > 0 {
		add(&Node{Sets: addrSets(self)}, "dns", "ns")
	}
	add(&Node{Sets: []RRSet{DataSet(TypeTXT, ttlVersion, "\x051.1.0")}}, "dns-version") // rule N1
	z.names = names.publish()
	return z
}

// soaData is the data of the SOA record. Negative answers may be kept as long as positive ones: its
// minimum is the TTL (rule N31, RFC 2308).
func soaData(domain Name, serial uint32) string {
	server, _ := domain.Child("dns")
	server, _ = server.Child("ns")
	mailbox, _ := domain.Child("hostmaster")
	b := append([]byte(server), mailbox...)
	for _, v := range []uint32{serial, 7200, 1800, 86400, TTL} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// apex is rule N39: the zone's own name, with its SOA and its name server's addresses.
func apex(domain Name, soa string, self []netip.Addr) *Node {
	server, _ := domain.Child("dns")
	server, _ = server.Child("ns")
	ns := DataSet(TypeNS, TTL, string(server))
	ns.addGlue([]target{{host: server, addrs: self}}, []int{HeaderSize + len(domain) + 4 + rrFixed})
	return &Node{Sets: []RRSet{ns, DataSet(TypeSOA, TTL, soa)}}
}

// Find returns the stored node of n, or nil.
func (z *Zone) Find(n Name) *Node {
	at, _ := z.names.get(hashName(n), n)
	return at
}

// Holds reports whether n is the zone's apex or below it.
func (z *Zone) Holds(n Name) bool {
	for len(n) > len(z.Domain) {
		n = n.Parent()
	}
	return n == z.Domain
}

// Located returns the node of a name that is computed rather than stored, or nil: an endpoint below a
// ClusterIP Service, or an address below <namespace>.pod.<zone> (rule N17, "pods insecure").
func (z *Zone) Located(n Name) *Node {
	if len(n) <= len(z.Domain) {
		return nil
	}
	above := z.Find(n.Parent())
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
	return &Node{Sets: addrSets(addrs)}
}

// Concerns reports whether a change of the cluster can change the answer to r: about a name of the zone, or the reverse
// name of an address that is, or may be, a Service's or an endpoint's.
func (z *Zone) Concerns(r *Request) bool {
	if z.Holds(r.Key()) {
		return true
	}
	ip, ok := reversed(r.Name)
	if !ok {
		return false
	}
	_, ours := z.addrs.get(hashAddr(ip), ip)
	return ours || ip.IsPrivate()
}
