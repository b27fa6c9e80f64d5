package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/alloc"
)

// numbers are the addresses and ports Services are given. One range of addresses per IP family, the default first.
type numbers struct {
	addresses []*alloc.Addresses
	ports     *alloc.Ports
}

func newNumbers(prefixes []netip.Prefix, ports alloc.PortRange) (*numbers, error) {
	var n numbers
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

func rangeFamily(a *alloc.Addresses) corev1.IPFamily { return familyOf(a.Prefix().Addr().String()) }

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

// hold marks what a stored Service has as taken. Two Services can hold one number only if something other than this
// server wrote them; the number then stays taken until both are gone or the server starts anew.
func (n *numbers) hold(svc *corev1.Service) {
	for _, addr := range clusterAddrs(svc) {
		if a := n.of(familyOf(addr.String())); a != nil {
			_ = a.Take(addr)
		}
	}
	for _, port := range heldPorts(svc) {
		_ = n.ports.Take(port)
	}
}

// release gives back what a Service that is gone had (rule S33).
func (n *numbers) release(svc *corev1.Service) {
	n.free(clusterAddrs(svc), heldPorts(svc))
}

func (n *numbers) free(addrs []netip.Addr, ports []int) {
	for _, addr := range addrs {
		if a := n.of(familyOf(addr.String())); a != nil {
			a.Release(addr)
		}
	}
	for _, port := range ports {
		n.ports.Release(port)
	}
}

// clusterAddrs are the addresses a Service holds.
func clusterAddrs(svc *corev1.Service) []netip.Addr {
	if !needsClusterIP(svc) || headless(svc) {
		return nil
	}
	var addrs []netip.Addr
	for _, ip := range svc.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			addrs = append(addrs, addr)
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

// claim is what one request took, to be given back if the request fails (rules S32, S91), and what it no longer
// needs, to be given back if it succeeds. A dry run chooses and checks but takes nothing (rule S31).
type claim struct {
	numbers *numbers
	dry     bool

	takenAddrs, oldAddrs []netip.Addr
	takenPorts, oldPorts []int
}

// undo gives back what was taken. It leaves the claim as new, so that a request can be tried again.
func (c *claim) undo() {
	if !c.dry {
		c.numbers.free(c.takenAddrs, c.takenPorts)
	}
	*c = claim{numbers: c.numbers, dry: c.dry}
}

// done gives back what the Service no longer has.
func (c *claim) done() {
	if !c.dry {
		c.numbers.free(c.oldAddrs, c.oldPorts)
	}
	*c = claim{numbers: c.numbers, dry: c.dry}
}

// service takes everything svc needs and fills it in; old is what the Service held before, nil on create.
func (c *claim) service(svc, old *corev1.Service) error {
	var oldAddrs []netip.Addr
	var oldPorts []int
	if old != nil {
		oldAddrs, oldPorts = clusterAddrs(old), heldPorts(old)
	}
	if err := c.clusterIPs(svc, oldAddrs); err != nil {
		return err
	}
	if err := c.nodePorts(svc, oldPorts, old == nil); err != nil {
		return err
	}
	if err := c.healthPort(svc, oldPorts); err != nil {
		return err
	}
	c.oldAddrs, c.oldPorts = nil, nil
	for _, addr := range oldAddrs {
		if !slices.Contains(clusterAddrs(svc), addr) {
			c.oldAddrs = append(c.oldAddrs, addr)
		}
	}
	for _, port := range oldPorts {
		if !slices.Contains(heldPorts(svc), port) {
			c.oldPorts = append(c.oldPorts, port)
		}
	}
	return nil
}

// clusterIPs gives a Service one address of each of its families (rules S20-S25).
func (c *claim) clusterIPs(svc *corev1.Service, held []netip.Addr) error {
	if !needsClusterIP(svc) {
		return nil
	}
	if headless(svc) {
		svc.Spec.ClusterIP, svc.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
		return nil
	}
	ips := slices.Clone(svc.Spec.ClusterIPs)
	for i, family := range svc.Spec.IPFamilies {
		if i < len(ips) {
			if err := c.fixedAddr(svc, family, ips[i], held); err != nil {
				return err
			}
			continue
		}
		addr, err := c.nextAddr(family)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		ips = append(ips, addr.String())
	}
	svc.Spec.ClusterIPs = ips
	svc.Spec.ClusterIP = ips[0]
	return nil
}

func (c *claim) fixedAddr(svc *corev1.Service, family corev1.IPFamily, ip string, held []netip.Addr) error {
	addr, err := netip.ParseAddr(ip)
	if err != nil || slices.Contains(held, addr) {
		return nil // an address of the wrong form is refused by validation, which follows
	}
	a := c.numbers.of(family)
	if c.dry {
		err = a.Check(addr)
	} else if err = a.Take(addr); err == nil {
		c.takenAddrs = append(c.takenAddrs, addr)
	}
	if err == nil {
		return nil
	}
	return invalidService(svc, field.Invalid(field.NewPath("spec", "clusterIPs"), svc.Spec.ClusterIPs,
		fmt.Sprintf("failed to allocate IP %s: %v", ip, err)))
}

func (c *claim) nextAddr(family corev1.IPFamily) (netip.Addr, error) {
	a := c.numbers.of(family)
	if c.dry {
		return a.Peek()
	}
	addr, err := a.Next()
	if err == nil {
		c.takenAddrs = append(c.takenAddrs, addr)
	}
	return addr, err
}

// nodePorts gives the ports of a Service their node ports (rules S60-S68). Ports the user chose are taken before any is
// chosen for him, so that the choice cannot meet them. On create, entries with the same port number (and so different
// protocols) share a node port.
func (c *claim) nodePorts(svc *corev1.Service, held []int, create bool) error {
	if !usesNodePorts(svc) {
		return nil
	}
	ports := svc.Spec.Ports
	shared := map[int32]int32{} // by port number
	for i := range ports {
		number := ports[i].NodePort
		if number == 0 {
			continue
		}
		if err := c.takePort(int(number), held); err != nil {
			return invalidService(svc, field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), number, err.Error()))
		}
		if _, ok := shared[ports[i].Port]; !ok {
			shared[ports[i].Port] = number
		}
	}
	for i := range ports {
		if ports[i].NodePort != 0 {
			continue
		}
		if number, ok := shared[ports[i].Port]; ok && create {
			ports[i].NodePort = number
			continue
		}
		if !allocatesNodePorts(svc) {
			continue
		}
		number, err := c.nextPort()
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		ports[i].NodePort = int32(number)
		shared[ports[i].Port] = int32(number)
	}
	return nil
}

// healthPort gives a Service the node port its load balancer checks (rule S70).
func (c *claim) healthPort(svc *corev1.Service, held []int) error {
	if !needsHealthPort(svc) {
		return nil
	}
	if number := svc.Spec.HealthCheckNodePort; number != 0 {
		err := error(alloc.TakenError{What: "port"}) // by another entry of this Service
		if !slices.Contains(c.takenPorts, int(number)) {
			err = c.takePort(int(number), held)
		}
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %d: %w", number, err))
		}
		return nil
	}
	number, err := c.nextPort()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
	}
	svc.Spec.HealthCheckNodePort = int32(number)
	return nil
}

// takePort takes a port unless the Service has it already, from before or by another of its entries.
func (c *claim) takePort(port int, held []int) error {
	if slices.Contains(held, port) || slices.Contains(c.takenPorts, port) {
		return nil
	}
	take := c.numbers.ports.Take
	if c.dry {
		take = c.numbers.ports.Check
	}
	if err := take(port); err != nil {
		return err
	}
	c.takenPorts = append(c.takenPorts, port)
	return nil
}

func (c *claim) nextPort() (int, error) {
	next := c.numbers.ports.Next
	if c.dry {
		next = c.peekPort
	}
	port, err := next()
	if err == nil {
		c.takenPorts = append(c.takenPorts, port)
	}
	return port, err
}

// peekPort chooses a port for a dry run that this run has not shown already. Peeking is random, so in a pool that is
// not nearly full the second try finds another.
func (c *claim) peekPort() (int, error) {
	for range 64 {
		port, err := c.numbers.ports.Peek()
		if err != nil || !slices.Contains(c.takenPorts, port) {
			return port, err
		}
	}
	return 0, alloc.ErrFull
}

func invalidService(svc *corev1.Service, errs ...*field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), strings.TrimSpace(svc.Name), errs)
}
