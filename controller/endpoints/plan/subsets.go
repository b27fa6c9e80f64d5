package plan

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// place tells the addresses of an Endpoints object apart: two pods in the network of one node
// share an IP but not a UID.
type place struct {
	ip  string
	uid types.UID
}

func placeOf(a *corev1.EndpointAddress) place {
	at := place{ip: a.IP}
	if a.TargetRef != nil {
		at.uid = a.TargetRef.UID
	}
	return at
}

// spot is one address behind one port.
type spot struct {
	addr    netip.Addr // zero when the text does not parse
	address *corev1.EndpointAddress
	ready   bool
}

// spots are the addresses behind one port, each once.
type spots struct {
	list []spot
	at   map[place]int // index in list
}

// put adds an address, unless it is there; then it is ready only if it is ready both times (rule
// E26).
func (s *spots) put(address *corev1.EndpointAddress, ready bool) {
	at := placeOf(address)
	if i, known := s.at[at]; known {
		s.list[i].ready = s.list[i].ready && ready
		return
	}
	addr, _ := api.ParseAddr(address.IP)
	s.at[at] = len(s.list)
	s.list = append(s.list, spot{addr: addr, address: address, ready: ready})
}

// portKey is an EndpointPort that can be compared. The zero key with bare set stands for "no
// ports", in a headless Service without any (rule E24).
type portKey struct {
	name        string
	port        int32
	protocol    corev1.Protocol
	appProtocol string
	hasApp      bool
	bare        bool
}

func keyOf(p *corev1.EndpointPort) portKey {
	return portKey{
		name: p.Name, port: p.Port, protocol: p.Protocol,
		appProtocol: ptr.Deref(p.AppProtocol, ""), hasApp: p.AppProtocol != nil,
	}
}

func (k portKey) compare(other portKey) int {
	return cmp.Or(
		cmp.Compare(k.name, other.name), cmp.Compare(k.port, other.port),
		cmp.Compare(k.protocol, other.protocol), cmp.Compare(k.appProtocol, other.appProtocol),
	)
}

// repack brings subsets into canonical form: ports that have exactly the same addresses, each
// equally ready, are one subset (rule E25). An address that is both ready and not ready for a port
// is not ready (rule E26). Addresses are sorted by IP and UID, ports by name and number, subsets
// by their first port (rule E27), so equal meanings have equal bytes. The input is not changed.
//
// Two observations make it short. A subset is the product of its ports and addresses, so it
// dissolves into (port, address) pairs without loss; and collecting the pairs by port and then
// merging ports with equal sets is the only way to have each pair once.
func repack(subsets []corev1.EndpointSubset) []corev1.EndpointSubset {
	byPort := map[portKey]*spots{}
	for i := range subsets {
		s := &subsets[i]
		if len(s.Ports) == 0 {
			gather(byPort, portKey{bare: true}, s)
		}
		for j := range s.Ports {
			gather(byPort, keyOf(&s.Ports[j]), s)
		}
	}
	type set struct {
		ports []portKey
		spots []spot
	}
	var sets []*set
	for _, port := range slices.SortedFunc(maps.Keys(byPort), portKey.compare) {
		list := byPort[port].list
		slices.SortFunc(list, compareSpots)
		same := slices.IndexFunc(sets, func(s *set) bool {
			return s.ports[0].bare == port.bare && slices.EqualFunc(s.spots, list, sameSpot)
		})
		if same >= 0 {
			sets[same].ports = append(sets[same].ports, port)
		} else {
			sets = append(sets, &set{ports: []portKey{port}, spots: list})
		}
	}
	packed := make([]corev1.EndpointSubset, 0, len(sets))
	for _, s := range sets {
		packed = append(packed, subsetOf(s.ports, s.spots))
	}
	return packed
}

// gather adds the addresses of a subset to those of a port. A port without addresses leads nowhere
// and is left out.
func gather(byPort map[portKey]*spots, port portKey, s *corev1.EndpointSubset) {
	if len(s.Addresses)+len(s.NotReadyAddresses) == 0 {
		return
	}
	to := byPort[port]
	if to == nil {
		to = &spots{at: map[place]int{}}
		byPort[port] = to
	}
	for i := range s.Addresses {
		to.put(&s.Addresses[i], true)
	}
	for i := range s.NotReadyAddresses {
		to.put(&s.NotReadyAddresses[i], false)
	}
}

func compareSpots(a, b spot) int {
	if order := a.addr.Compare(b.addr); order != 0 {
		return order
	}
	x, y := placeOf(a.address), placeOf(b.address)
	return cmp.Or(cmp.Compare(x.ip, y.ip), cmp.Compare(x.uid, y.uid))
}

func sameSpot(a, b spot) bool {
	return a.ready == b.ready && placeOf(a.address) == placeOf(b.address)
}

// subsetOf builds one subset.
func subsetOf(ports []portKey, spots []spot) corev1.EndpointSubset {
	var s corev1.EndpointSubset
	for _, k := range ports {
		if k.bare {
			continue
		}
		port := corev1.EndpointPort{Name: k.name, Port: k.port, Protocol: k.protocol}
		if k.hasApp {
			port.AppProtocol = ptr.To(k.appProtocol)
		}
		s.Ports = append(s.Ports, port)
	}
	for _, at := range spots {
		if at.ready {
			s.Addresses = append(s.Addresses, *at.address)
		} else {
			s.NotReadyAddresses = append(s.NotReadyAddresses, *at.address)
		}
	}
	return s
}

// truncate reduces subsets to limit addresses, and reports whether it had to. Ready addresses are
// preferred; each subset gives up its share (rule E30).
func truncate(subsets []corev1.EndpointSubset, limit int) ([]corev1.EndpointSubset, bool) {
	ready, unready := 0, 0
	for i := range subsets {
		ready += len(subsets[i].Addresses)
		unready += len(subsets[i].NotReadyAddresses)
	}
	if ready+unready <= limit {
		return subsets, false
	}
	keepReady := quota{keep: min(ready, limit), of: ready}
	keepUnready := quota{keep: limit - keepReady.keep, of: unready}
	var kept []corev1.EndpointSubset
	for _, s := range subsets {
		s.Addresses = s.Addresses[:keepReady.share(len(s.Addresses))]
		s.NotReadyAddresses = s.NotReadyAddresses[:keepUnready.share(len(s.NotReadyAddresses))]
		if len(s.Addresses)+len(s.NotReadyAddresses) > 0 {
			kept = append(kept, s)
		}
	}
	return kept, true
}

// quota deals out keep places among of candidates that come in portions.
type quota struct{ keep, of int }

// share returns how many of the next n candidates stay: their exact share of what is left, rounded
// up, so that nothing is left over at the end.
func (q *quota) share(n int) int {
	if q.of == 0 {
		return 0
	}
	share := (n*q.keep + q.of - 1) / q.of
	q.keep, q.of = q.keep-share, q.of-n
	return share
}

// sameSubset reports whether two subsets would be stored alike. The resourceVersion of a reference
// does not count (rule E31).
func sameSubset(a, b corev1.EndpointSubset) bool {
	return slices.EqualFunc(a.Ports, b.Ports, func(a, b corev1.EndpointPort) bool { return keyOf(&a) == keyOf(&b) }) &&
		slices.EqualFunc(a.Addresses, b.Addresses, sameAddress) &&
		slices.EqualFunc(a.NotReadyAddresses, b.NotReadyAddresses, sameAddress)
}

func sameAddress(a, b corev1.EndpointAddress) bool {
	return a.IP == b.IP && a.Hostname == b.Hostname && ptr.Equal(a.NodeName, b.NodeName) && sameRef(a.TargetRef, b.TargetRef)
}
