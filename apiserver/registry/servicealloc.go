package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/alloc"
)

// claim is what one request took, to be given back if the request fails (rules S32, S91), and what it no longer
// needs, to be given back if it succeeds. A dry run chooses and checks but takes nothing (rule S31).
type claim struct {
	numbers *numbers
	dry     bool

	uid        types.UID // of the Service that is written
	taken, old []number
	begun      bool // the write has been handed to the storage, and its outcome is not known yet
}

// undo gives back what was taken, unless it may have been written. It leaves the claim as new, so that a request can be
// tried again.
func (c *claim) undo() {
	if c.begun {
		c.unknown()
		return
	}
	c.end(c.taken)
}

// done gives back what the Service no longer has.
func (c *claim) done() {
	if !c.dry {
		c.numbers.settled(c.taken, c.uid)
	}
	c.end(c.old)
}

// unknown gives nothing back: whether the Service was written is not known. What it took and what it may no longer need
// stay taken until the repair has seen what is stored.
func (c *claim) unknown() {
	if !c.dry {
		c.numbers.settled(c.taken, c.uid)
	}
	c.end(nil)
}

// end gives free back and leaves the claim as new.
func (c *claim) end(free []number) {
	if !c.dry {
		c.numbers.release(free, c.uid)
	}
	*c = claim{numbers: c.numbers, dry: c.dry}
}

// service takes everything svc needs and fills it in; old is what the Service held before, nil on create.
func (c *claim) service(svc, old *corev1.Service) error {
	c.uid = svc.UID
	var had []number
	if old != nil {
		c.uid = old.UID
		had = numbersOf(old)
	}
	if err := c.clusterIPs(svc, had); err != nil {
		return err
	}
	if err := c.nodePorts(svc, had, old == nil); err != nil {
		return err
	}
	if err := c.healthPort(svc, had); err != nil {
		return err
	}
	has := numbersOf(svc)
	c.old = slices.DeleteFunc(had, func(x number) bool { return slices.Contains(has, x) })
	return nil
}

// clusterIPs gives a Service one address of each of its families (rules S20-S25).
func (c *claim) clusterIPs(svc *corev1.Service, held []number) error {
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
			if err := c.fixedAddr(svc, ips[i], held); err != nil {
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

func (c *claim) fixedAddr(svc *corev1.Service, ip string, held []number) error {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil // an address of the wrong form is refused by validation, which follows
	}
	if err := c.take(number{addr: addr.Unmap()}, held); err != nil {
		return invalidService(svc, field.Invalid(field.NewPath("spec", "clusterIPs"), svc.Spec.ClusterIPs,
			fmt.Sprintf("failed to allocate IP %s: %v", ip, err)))
	}
	return nil
}

func (c *claim) nextAddr(family corev1.IPFamily) (netip.Addr, error) {
	if c.dry {
		return c.numbers.peekAddr(family)
	}
	addr, err := c.numbers.nextAddr(family, c.uid)
	if err == nil {
		c.taken = append(c.taken, number{addr: addr})
	}
	return addr, err
}

// nodePorts gives the ports of a Service their node ports (rules S60-S68). Ports the user chose are taken before any is
// chosen for him, so that the choice cannot meet them. On create, entries with the same port number (and so different
// protocols) share a node port.
func (c *claim) nodePorts(svc *corev1.Service, held []number, create bool) error {
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
func (c *claim) healthPort(svc *corev1.Service, held []number) error {
	if !needsHealthPort(svc) {
		return nil
	}
	if port := svc.Spec.HealthCheckNodePort; port != 0 {
		if wrong := validation.IsValidPortNum(int(port)); len(wrong) > 0 {
			return invalidService(svc, field.Invalid(field.NewPath("spec", "healthCheckNodePort"), port, wrong[0]))
		}
		err := error(alloc.TakenError{What: "port"}) // by another entry of this Service
		if !slices.Contains(c.taken, number{port: int(port)}) {
			err = c.takePort(int(port), held)
		}
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %d: %w", port, err))
		}
		return nil
	}
	port, err := c.nextPort()
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
	}
	svc.Spec.HealthCheckNodePort = int32(port)
	return nil
}

func (c *claim) takePort(port int, held []number) error { return c.take(number{port: port}, held) }

// take takes a number unless the Service has it already, from before or by another of its entries.
func (c *claim) take(x number, held []number) error {
	if slices.Contains(held, x) || slices.Contains(c.taken, x) {
		return nil
	}
	take := c.numbers.take
	if c.dry {
		take = c.numbers.check
	}
	if err := take(x, c.uid); err != nil {
		return err
	}
	c.taken = append(c.taken, x)
	return nil
}

func (c *claim) nextPort() (int, error) {
	next := func() (int, error) { return c.numbers.nextPort(c.uid) }
	if c.dry {
		next = c.peekPort
	}
	port, err := next()
	if err == nil {
		c.taken = append(c.taken, number{port: port})
	}
	return port, err
}

// peekPort chooses a port for a dry run that this run has not shown already. Peeking is random, so in a pool that is
// not nearly full the second try finds another.
func (c *claim) peekPort() (int, error) {
	for range 64 {
		port, err := c.numbers.ports.Peek()
		if err != nil || !slices.Contains(c.taken, number{port: port}) {
			return port, err
		}
	}
	return 0, alloc.ErrFull
}

func invalidService(svc *corev1.Service, errs ...*field.Error) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), strings.TrimSpace(svc.Name), errs)
}
