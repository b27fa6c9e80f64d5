package registry

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// repairKey marks the context of the repair's own writes of IPAddresses, which reserve nothing.
type repairKey struct{}

// reserved lists all IPAddresses, and has the addresses of those that go with no Service reserved.
func (s *serviceStore) reserved(ctx context.Context) ([]networkingv1.IPAddress, error) {
	list, err := everything(ctx, s.addresses)
	if err != nil {
		return nil, err
	}
	items := list.(*networkingv1.IPAddressList).Items
	for i := range items {
		if x, ok := numberOf(&items[i]); ok && !ours(&items[i]) {
			s.numbers.reserve(x, items[i].UID, false)
		}
	}
	return items, nil
}

// repairAddresses makes the IPAddress of each address of a Service that lacks it, and removes those that claim to go with a Service
// and do not, once they were seen twice.
func (s *serviceStore) repairAddresses(ctx context.Context, log *slog.Logger, services []corev1.Service, ips []networkingv1.IPAddress) error {
	ctx = genericapirequest.WithNamespace(context.WithValue(ctx, repairKey{}, true), metav1.NamespaceNone)
	there := map[string]bool{}
	for i := range ips {
		there[ips[i].Name] = true
	}
	has := map[string]bool{}
	for i := range services {
		svc := &services[i]
		for _, name := range s.numbers.heldBy(numbersOf(svc), svc.UID) { // which it still has, and no elder one
			has[name] = true
			if there[name] {
				continue
			}
			x, _ := numberOf(&networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: name}})
			_, err := s.addresses.Create(ctx, addressOf(svc, x.addr), rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
			log.Info("the IPAddress of a Service was missing, and is made", "address", name, "service", svc.Namespace+"/"+svc.Name)
		}
	}
	stale := map[types.UID]bool{}
	for i := range ips {
		ip := &ips[i]
		switch {
		case !ours(ip) || has[ip.Name]:
		case !s.stale[ip.UID]:
			stale[ip.UID] = true
		default:
			_, _, err := s.addresses.Delete(ctx, ip.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(ip.UID))})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return err
			}
			log.Info("an IPAddress that no Service has is removed", "address", ip.Name)
		}
	}
	s.stale = stale
	return nil
}
