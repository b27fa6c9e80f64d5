package registry

import (
	"context"
	"errors"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// PortClaim says that a Service has a node port: what is written in one transaction with the Service, as its IPAddresses are, so that
// no two servers over one etcd give a port to two.
type PortClaim struct {
	Port     int
	UID      types.UID // of the Service
	Revision int64     // at which it was written
}

// PortClaims are those in etcd, besides what goes with the writes of Services.
type PortClaims interface {
	// All are the claims there are.
	All(ctx context.Context) ([]PortClaim, error)
	// Add claims a port for a Service that is stored and lacks it, unless it is claimed.
	Add(ctx context.Context, port int, uid types.UID) error
	// Remove removes a claim, unless it was written anew.
	Remove(ctx context.Context, c PortClaim) error
}

// elsewhere holds what etcd says is taken, and no Service that this server has read has.
const elsewhere types.UID = "elsewhere"

// TakenElsewhere is the error of a write that takes what another server has given away meanwhile. Nothing was written.
type TakenElsewhere struct{ *apierrors.StatusError }

// NewTakenElsewhere is the error about a number, by its name: an address, or a port.
func NewTakenElsewhere(name string) TakenElsewhere {
	return TakenElsewhere{apierrors.NewConflict(corev1.Resource("services"), name, errors.New("it is taken, and no Service that this server knows has it: try again"))}
}

// learningTries bounds how often a write begins anew with what it has learnt.
const learningTries = 8

// learning carries out a write, and again with another number while what it chose turns out to be taken: as long as there is one
// server, the first try is the only one.
func (s *serviceStore) learning(ctx context.Context, write func() error) error {
	var taken TakenElsewhere
	for range learningTries {
		err := write()
		if !errors.As(err, &taken) {
			return err
		}
		if err := s.learn(ctx); err != nil {
			return err
		}
	}
	return taken
}

// learn reads what is taken in etcd, and has the repair look whose it is.
func (s *serviceStore) learn(ctx context.Context) error {
	claims, err := s.claims.All(ctx)
	if err != nil {
		return unavailable("which node ports are taken cannot be read: " + err.Error())
	}
	for _, c := range claims {
		s.numbers.elsewhere(number{port: c.Port})
	}
	ips, err := s.reserved(ctx)
	if err != nil {
		return err
	}
	for i := range ips {
		if x, ok := numberOf(&ips[i]); ok {
			s.numbers.elsewhere(x)
		}
	}
	s.wonder()
	return nil
}

// elsewhere marks a number that nobody here has as taken.
func (n *numbers) elsewhere(x number) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.holders[x]; known {
		return
	}
	if x.addr.IsValid() {
		n.enter(x.addr)
	} else if n.ports.Take(x.port) != nil {
		return // not of the range
	}
	n.note(x, elsewhere, false)
}

// portsIn are the ports among numbers.
func portsIn(xs []number) []int {
	var ports []int
	for _, x := range xs {
		if !x.addr.IsValid() {
			ports = append(ports, x.port)
		}
	}
	return ports
}

// repairPorts claims the node ports of Services of an older version, which have no claim, and removes the claims of no Service, once
// they were seen twice.
func (s *serviceStore) repairPorts(ctx context.Context, log *slog.Logger, services []corev1.Service) error {
	claims, err := s.claims.All(ctx)
	if err != nil {
		return err
	}
	claimed := map[int]PortClaim{}
	for _, c := range claims {
		claimed[c.Port] = c
	}
	has := map[int]map[types.UID]bool{}
	for i := range services {
		svc := &services[i]
		for _, port := range portsIn(numbersOf(svc)) {
			if has[port] == nil {
				has[port] = map[types.UID]bool{}
			}
			has[port][svc.UID] = true
			if _, ok := claimed[port]; ok || len(has[port]) > 1 {
				continue
			}
			if err := s.claims.Add(ctx, port, svc.UID); err != nil {
				return err
			}
			log.Info("the node port of a Service was not claimed, and is now", "port", port, "service", svc.Namespace+"/"+svc.Name)
		}
	}
	unused := map[PortClaim]bool{}
	for _, c := range claims {
		switch {
		case has[c.Port][c.UID]:
		case !s.unused[c]:
			unused[c] = true
		default:
			if err := s.claims.Remove(ctx, c); err != nil {
				return err
			}
			log.Info("the claim of a node port that no Service has is removed", "port", c.Port)
		}
	}
	s.unused = unused
	return nil
}
