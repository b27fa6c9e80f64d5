package registry

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api"
)

// number is an address or a port that Services are given.
type number struct {
	addr netip.Addr // the zero address: it is a port
	port int
}

// String is the number as users write it.
func (n number) String() string {
	if n.addr.IsValid() {
		return "cluster IP " + n.addr.String()
	}
	return "node port " + strconv.Itoa(n.port)
}

// holder is who has a number.
type holder struct {
	uid      types.UID
	writing  bool   // a request took it and does not know yet whether its Service is stored
	reserved bool   // it is an IPAddress of a user's, not a Service
	taking   uint64 // which taking of the number this is: no two are equal
}

// numbers are the addresses and ports Services are given, and who has which. The ranges of addresses are those of the
// cluster's start, one per IP family, the default first, and those that ServiceCIDRs add. A number is given back for one holder and to nobody else's cost, however often and late that happens.
type numbers struct {
	given []netip.Prefix // of the cluster's start
	ports *alloc.Ports
	look  chan struct{} // full when the ServiceCIDRs are to be looked at

	mu      sync.Mutex
	ranges  []*serviceRange
	known   map[string]uint64 // the newest version of each ServiceCIDR that the ranges follow
	holders map[number]holder
	takings uint64
	sharing map[number][]types.UID // stored Services that have a number of another; there should be none
}

func newNumbers(prefixes []netip.Prefix, ports alloc.PortRange) (*numbers, error) {
	n := numbers{look: make(chan struct{}, 1), known: map[string]uint64{}, holders: map[number]holder{}, sharing: map[number][]types.UID{}}
	for _, prefix := range prefixes {
		if _, err := alloc.NewAddresses(prefix); err != nil {
			return nil, err
		}
		n.given = append(n.given, prefix.Masked())
	}
	n.set(GivenRanges, n.given, true)
	p, err := alloc.NewPorts(ports)
	if err != nil {
		return nil, err
	}
	n.ports = p
	return &n, nil
}

// families are the IP families of the cluster, the default first.
func (n *numbers) families() []corev1.IPFamily {
	families := make([]corev1.IPFamily, len(n.given))
	for i, p := range n.given {
		families[i] = api.Family(p.Addr())
	}
	return families
}

// take gives x to a request that writes the Service uid.
func (n *numbers) take(x number, uid types.UID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.mark(x); err != nil {
		return err
	}
	n.note(x, uid, true)
	return nil
}

func (n *numbers) note(x number, uid types.UID, writing bool) {
	n.takings++
	n.holders[x] = holder{uid, writing, false, n.takings}
}

// check says what take would, and gives nothing.
func (n *numbers) check(x number, _ types.UID) error {
	if !x.addr.IsValid() {
		return n.ports.Check(x.port)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.freeAddr(x.addr)
}

// mark takes x out of its range.
func (n *numbers) mark(x number) error {
	if !x.addr.IsValid() {
		return n.ports.Take(x.port)
	}
	if err := n.freeAddr(x.addr); err != nil {
		return err
	}
	n.enter(x.addr)
	return nil
}

// nextAddr chooses an address for a request that writes the Service uid.
func (n *numbers) nextAddr(family corev1.IPFamily, uid types.UID) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, err := n.choose(family, (*alloc.Addresses).Next)
	if err == nil {
		n.enter(addr)
		n.note(number{addr: addr}, uid, true)
	}
	return addr, err
}

// peekAddr chooses an address as nextAddr does, and gives nothing.
func (n *numbers) peekAddr(family corev1.IPFamily) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.choose(family, (*alloc.Addresses).Peek)
}

// nextPort chooses a port for a request that writes the Service uid.
func (n *numbers) nextPort(uid types.UID) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	port, err := n.ports.Next()
	if err == nil {
		n.note(number{port: port}, uid, true)
	}
	return port, err
}

// hold marks what a stored Service has as taken, whoever gave it. A number that another Service has as well is shared.
func (n *numbers) hold(svc *corev1.Service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range numbersOf(svc) {
		switch have, taken := n.holders[x]; {
		case !taken && x.addr.IsValid(): // of a range, or of one that may come back
			n.enter(x.addr)
			n.note(x, svc.UID, false)
		case !taken && n.ports.Take(x.port) == nil: // one outside of the range is nobody's to give
			n.note(x, svc.UID, false)
		case taken && have.uid != svc.UID:
			if !slices.Contains(n.sharing[x], svc.UID) {
				n.sharing[x] = append(n.sharing[x], svc.UID)
			}
		}
	}
}

// settled says that the write of uid is over, which took these: they are held like any other from now on.
func (n *numbers) settled(xs []number, uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range xs {
		if h, ok := n.holders[x]; ok && h.uid == uid {
			h.writing = false
			n.holders[x] = h
		}
	}
}

// release gives back what uid has of xs (rule S33). What a second Service has as well stays taken, for that one.
func (n *numbers) release(xs []number, uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range xs {
		n.releaseOne(x, uid)
	}
}

func (n *numbers) releaseOne(x number, uid types.UID) {
	others := slices.DeleteFunc(n.sharing[x], func(u types.UID) bool { return u == uid })
	heir := len(others) > 0 && n.holders[x].uid == uid
	if heir {
		n.note(x, others[0], false)
		others = others[1:]
	}
	if n.sharing[x] = others; len(others) == 0 {
		delete(n.sharing, x)
	}
	if heir || n.holders[x].uid != uid {
		return
	}
	delete(n.holders, x)
	if !x.addr.IsValid() {
		n.ports.Release(x.port)
		return
	}
	for _, r := range n.ranges {
		r.Release(x.addr)
	}
	n.freed()
}

// forget gives x back if it is still held as it was when h was seen, and reports whether it was.
func (n *numbers) forget(x number, h holder) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holders[x] != h {
		return false
	}
	n.releaseOne(x, h.uid)
	return true
}

// held is who has which number now.
func (n *numbers) held() map[number]holder {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.holders)
}

// numbersOf are the numbers a Service has.
func numbersOf(svc *corev1.Service) []number {
	var xs []number
	for _, addr := range clusterAddrs(svc) {
		xs = append(xs, number{addr: addr})
	}
	for _, port := range heldPorts(svc) {
		xs = append(xs, number{port: port})
	}
	return xs
}

// clusterAddrs are the addresses a Service holds.
func clusterAddrs(svc *corev1.Service) []netip.Addr {
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	var addrs []netip.Addr
	for _, ip := range svc.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// heldPorts are the node ports a Service holds, each once.
func heldPorts(svc *corev1.Service) []int {
	var ports []int
	add := func(port int32) {
		if port != 0 && !slices.Contains(ports, int(port)) {
			ports = append(ports, int(port))
		}
	}
	if usesNodePorts(svc) {
		for i := range svc.Spec.Ports {
			add(svc.Spec.Ports[i].NodePort)
		}
	}
	if needsHealthPort(svc) {
		add(svc.Spec.HealthCheckNodePort)
	}
	return ports
}
