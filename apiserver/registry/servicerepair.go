package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// rounds is how often the repair looks when it has no reason to (upstream's interval).
	rounds = 3 * time.Minute
	// recheck is how long it waits when it has: after a write whose outcome is not known, and before it gives back what it
	// found taken by nobody. By then every write that it may have met half way is over.
	recheck = 5 * time.Second
)

// Shared says that a stored Service has a number of an older one.
type Shared struct {
	Service, Elder *corev1.Service
	Reason         string // as upstream calls it
	Message        string
}

// wonder has the repair look soon.
func (s *serviceStore) wonder() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}

// Repair compares the numbers that are taken with the stored Services and IPAddresses until ctx ends. What no Service has it gives back
// once it was seen twice; two Services with one number, which only something other than this server can have written, it
// tells to say.
func (s *serviceStore) Repair(ctx context.Context, log *slog.Logger, say func(context.Context, Shared)) {
	for {
		wait := rounds
		if err := s.repair(ctx, log, say); err != nil || len(s.seen)+len(s.stale)+len(s.unused) > 0 {
			wait = recheck
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-s.doubt:
			next.Reset(recheck)
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
		case <-next.C:
		}
	}
}

// repair looks once.
func (s *serviceStore) repair(ctx context.Context, log *slog.Logger, say func(context.Context, Shared)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.load(ctx); err != nil {
		return err
	}
	held := s.numbers.held() // before the list: what is held by then and not being written must be in it
	services, err := s.stored(ctx)
	if err != nil {
		return err
	}
	ips, err := s.reserved(ctx)
	if err != nil {
		return err
	}
	first, has := map[number]*corev1.Service{}, map[number]map[types.UID]bool{}
	for i := range services {
		svc := &services[i]
		for _, x := range numbersOf(svc) {
			if h, known := held[x]; !known || h.uid == elsewhere && s.numbers.forget(x, h) {
				s.numbers.hold(svc)
			}
			if elder := first[x]; elder == nil {
				first[x], has[x] = svc, map[types.UID]bool{}
			} else if !has[x][svc.UID] {
				s.numbers.hold(svc)
				tell(ctx, log, say, x, svc, elder)
			}
			has[x][svc.UID] = true
		}
	}
	for i := range ips {
		if x, ok := numberOf(&ips[i]); ok && has[x] == nil {
			has[x] = map[types.UID]bool{ips[i].UID: true}
		}
	}
	leaks := map[number]holder{}
	for x, h := range held {
		switch {
		case h.writing || has[x][h.uid]:
		case s.seen[x] != h:
			leaks[x] = h
		case s.numbers.forget(x, h):
			log.Warn("a number that no Service has was taken, and is free now", "number", x.String(), "service", h.uid)
		}
	}
	s.seen = leaks
	return errors.Join(s.repairPorts(ctx, log, services), s.repairAddresses(ctx, log, services, ips))
}

func tell(ctx context.Context, log *slog.Logger, say func(context.Context, Shared), x number, svc, elder *corev1.Service) {
	reason := "PortAlreadyAllocated"
	if x.addr.IsValid() {
		reason = "ClusterIPAlreadyAllocated"
	}
	message := fmt.Sprintf("%s is also that of Service %s/%s, which is older: delete this Service and create it again", x, elder.Namespace, elder.Name)
	log.Warn("two Services have one number", "service", svc.Namespace+"/"+svc.Name, "what", message)
	say(ctx, Shared{Service: svc, Elder: elder, Reason: reason, Message: message})
}
