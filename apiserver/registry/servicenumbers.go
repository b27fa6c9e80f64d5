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
	uid     types.UID
	writing bool   // a request took it and does not know yet whether its Service is stored
	taking  uint64 // which taking of the number this is: no two are equal
}

// numbers are the addresses and ports Services are given, one range of addresses per IP family, the default first, and
// who has which. A number is given back for one holder and to nobody else's cost, however often and late that happens.
type numbers struct {
	addresses []*alloc.Addresses
	ports     *alloc.Ports

	mu      sync.Mutex
	holders map[number]holder
	takings uint64
	sharing map[number][]types.UID // stored Services that have a number of another; there should be none
}

func newNumbers(prefixes []netip.Prefix, ports alloc.PortRange) (*numbers, error) {
	n := numbers{holders: map[number]holder{}, sharing: map[number][]types.UID{}}
	for _, prefix := range prefixes {
		addresses, err := alloc.NewAddresses(prefix)
		if err != nil {
			return nil, err
		}
		n.addresses = append(n.addresses, addresses)
	}
	p, err := alloc.NewPorts(ports)
	if err != nil {
		return nil, err
	}
	n.ports = p
	return &n, nil
}

func rangeFamily(a *alloc.Addresses) corev1.IPFamily { return api.Family(a.Prefix().Addr()) }

// families are the IP families of the cluster, the default first.
func (n *numbers) families() []corev1.IPFamily {
	families := make([]corev1.IPFamily, len(n.addresses))
	for i, a := range n.addresses {
		families[i] = rangeFamily(a)
	}
	return families
}

// of returns the range of a family, nil when the cluster lacks it.
func (n *numbers) of(family corev1.IPFamily) *alloc.Addresses {
	i := slices.IndexFunc(n.addresses, func(a *alloc.Addresses) bool { return rangeFamily(a) == family })
	if i < 0 {
		return nil
	}
	return n.addresses[i]
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
	n.holders[x] = holder{uid, writing, n.takings}
}

// check says what take would, and gives nothing.
func (n *numbers) check(x number, _ types.UID) error {
	if !x.addr.IsValid() {
		return n.ports.Check(x.port)
	}
	if a := n.of(api.Family(x.addr)); a != nil {
		return a.Check(x.addr)
	}
	return alloc.RangeError{What: "IP"}
}

// mark takes x out of its range.
func (n *numbers) mark(x number) error {
	if !x.addr.IsValid() {
		return n.ports.Take(x.port)
	}
	if a := n.of(api.Family(x.addr)); a != nil {
		return a.Take(x.addr)
	}
	return alloc.RangeError{What: "IP"}
}

// nextAddr chooses an address for a request that writes the Service uid.
func (n *numbers) nextAddr(family corev1.IPFamily, uid types.UID) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, err := n.of(family).Next()
	if err == nil {
		n.note(number{addr: addr}, uid, true)
	}
	return addr, err
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
		case !taken && n.mark(x) == nil: // one outside of the ranges is nobody's to give
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
	} else if a := n.of(api.Family(x.addr)); a != nil {
		a.Release(x.addr)
	}
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
