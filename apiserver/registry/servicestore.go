package registry

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/util/dryrun"
)

// serviceStore is the storage of Services. It gives them their addresses and ports.
//
// Which numbers are taken is kept in memory and read from the stored Services, and from the IPAddresses that users made, before
// the first write. With one API server that is all there is to know: every Service is written through this process, and
// a number is free the moment its Service is gone. The IPAddress objects of a Service, and the claims of its node ports, are written in
// one transaction with it, which fails if another server has given them away: then what is taken is read anew. What was written is told
// by the storage (ledger); a write whose outcome it cannot tell leaves its numbers taken, for the repair to compare with what is stored.
type serviceStore struct {
	store[*corev1.Service]
	numbers *numbers

	endpoints *genericregistry.Store // of the same-named Endpoints, which go with the Service
	addresses *genericregistry.Store // of IPAddresses
	ranges    *genericregistry.Store // of ServiceCIDRs
	claims    PortClaims

	loading chan struct{} // full while one request reads the stored Services
	loaded  atomic.Bool   // their numbers are marked as taken

	doubt chan struct{}      // full when the outcome of a write is not known
	seen  map[number]holder  // what the last look of the repair found taken by no stored Service
	stale map[types.UID]bool // which IPAddresses it found of no Service

	unused map[PortClaim]bool // and which claims of ports
}

var (
	_ rest.StandardStorage    = &serviceStore{}
	_ rest.ShortNamesProvider = &serviceStore{}
)

// newServiceStore puts allocation around the plain storage of Services, whose status subresource allocates nothing.
func newServiceStore(plain store[*corev1.Service], endpoints *genericregistry.Store, n *numbers) (*serviceStore, serviceStatus) {
	s := &serviceStore{numbers: n, endpoints: endpoints, loading: make(chan struct{}, 1), doubt: make(chan struct{}, 1)}
	plain = booked(plain, func(below storage.Interface) storage.Interface { return ledger{below, s} }) // also of the status, which is a copy
	s.store = plain
	noted := plain.AfterDelete
	plain.AfterDelete = func(obj runtime.Object, options *metav1.DeleteOptions) {
		noted(obj, options)
		s.afterDelete(obj, options)
	}
	status := serviceStatus{plain.status(), s}
	plain.BeginCreate = s.beginCreate
	plain.BeginUpdate = s.beginUpdate
	return s, status
}

// claimKey is where a request keeps its claim, so that the hooks inside the generic store find it.
type claimKey struct{}

// load marks the numbers of the stored Services as taken, once. It runs before the first write, so no Service can come
// or go between the listing and the marking.
func (s *serviceStore) load(ctx context.Context) error {
	if s.loaded.Load() {
		return nil
	}
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return unavailable("which addresses Services have is still being read")
	}
	if s.loaded.Load() {
		return nil
	}
	ranges, err := everything(ctx, s.ranges)
	if err != nil {
		return err
	}
	for i := range ranges.(*networkingv1.ServiceCIDRList).Items {
		s.numbers.declare(&ranges.(*networkingv1.ServiceCIDRList).Items[i])
	}
	services, err := s.stored(ctx)
	if err != nil {
		return err
	}
	for i := range services {
		s.numbers.hold(&services[i])
	}
	if _, err := s.reserved(ctx); err != nil {
		return err
	}
	s.loaded.Store(true)
	return nil
}

// stored lists all Services as they are stored, the eldest first.
func (s *serviceStore) stored(ctx context.Context) ([]corev1.Service, error) {
	list, err := everything(ctx, s.Store)
	if err != nil {
		return nil, err
	}
	services := list.(*corev1.ServiceList).Items
	slices.SortStableFunc(services, func(a, b corev1.Service) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return services, nil
}

// everything lists all objects of a store. It waits while the storage is starting.
func everything(ctx context.Context, s *genericregistry.Store) (runtime.Object, error) {
	ctx = genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)
	all := s.PredicateFunc(labels.Everything(), fields.Everything())
	for {
		list, err := s.ListPredicate(ctx, all, &internalversion.ListOptions{})
		if err == nil {
			return list, nil
		}
		if !apierrors.IsTooManyRequests(err) && ctx.Err() == nil { // which is how the storage says that it is starting
			return nil, apierrors.NewInternalError(fmt.Errorf("reading the %s, to know which service addresses are taken: %w", s.DefaultQualifiedResource.Resource, err))
		}
		select {
		case <-ctx.Done():
			return nil, unavailable("the " + s.DefaultQualifiedResource.Resource + " that are stored cannot be read yet: " + err.Error())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// unavailable is the answer to a request that is to be tried again.
func unavailable(why string) error {
	err := apierrors.NewServiceUnavailable(why)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return err
}

// Create stores a new Service with its addresses and ports.
func (s *serviceStore) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	var created runtime.Object
	err := s.learning(ctx, func() (err error) {
		c := &claim{numbers: s.numbers, dry: dryrun.IsDryRun(options.DryRun)}
		defer c.undo() // nothing, once it was written
		created, err = s.store.Create(context.WithValue(ctx, claimKey{}, c), obj.DeepCopyObject(), validate, options)
		return err
	})
	return created, err
}

// Update changes a Service, or creates it (rule S12). What the change sets free is free once it is written (rule S91).
func (s *serviceStore) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	if err := s.load(ctx); err != nil {
		return nil, false, err
	}
	var updated runtime.Object
	var created bool
	err := s.learning(ctx, func() (err error) {
		c := &claim{numbers: s.numbers, dry: dryrun.IsDryRun(options.DryRun)}
		defer c.undo() // nothing, once it was written
		updated, created, err = s.store.Update(context.WithValue(ctx, claimKey{}, c), name, info, create, update, force, options)
		return err
	})
	return updated, created, err
}

// Delete removes a Service.
func (s *serviceStore) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	if err := s.load(ctx); err != nil {
		return nil, false, err
	}
	return s.store.Delete(ctx, name, validate, options)
}

// DeleteCollection removes the Services selected (rule S143).
func (s *serviceStore) DeleteCollection(ctx context.Context, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions, list *internalversion.ListOptions) (runtime.Object, error) {
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s.store.DeleteCollection(ctx, validate, options, list)
}

// beginCreate allocates for a new Service. The store calls it before it validates, since the addresses are validated
// too, and once more for each try of a request, so what an earlier try took is given back first.
func (s *serviceStore) beginCreate(ctx context.Context, obj runtime.Object, _ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	svc := obj.(*corev1.Service)
	syncClusterIPs(svc, nil)
	return finishElsewhere, s.allocate(ctx, svc, nil)
}

// beginUpdate allocates what an update of a Service needs.
func (s *serviceStore) beginUpdate(ctx context.Context, obj, existing runtime.Object, _ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	svc, old := obj.(*corev1.Service), existing.(*corev1.Service)
	wipeForType(svc, old)
	carryOver(svc, old)
	syncClusterIPs(svc, old)
	return finishElsewhere, s.allocate(ctx, svc, old)
}

// finishElsewhere is the finish of the store's hooks, which it calls before the object is written. The ledger knows the
// outcome, so it finishes the claim.
func finishElsewhere(context.Context, bool) {}

func (s *serviceStore) allocate(ctx context.Context, svc, old *corev1.Service) error {
	c, ok := ctx.Value(claimKey{}).(*claim)
	if !ok {
		return apierrors.NewInternalError(fmt.Errorf("service %s/%s: written past its storage", svc.Namespace, svc.Name))
	}
	c.undo()
	was := &corev1.Service{}
	if old != nil {
		was = old
	}
	if errs := validateAddresses(svc, was); len(errs) > 0 {
		return invalidService(svc, errs...)
	}
	if old != nil && needsClusterIP(svc) && needsClusterIP(old) { // before a changed address is taken
		if errs := validateKeptAddresses(svc, old); len(errs) > 0 {
			return invalidService(svc, errs...)
		}
	}
	if errs := fillFamilies(svc, old, s.numbers.families()); len(errs) > 0 {
		return invalidService(svc, errs...)
	}
	return c.service(svc, old)
}

// afterDelete removes the Endpoints of a Service that is gone, so that one of the same name does not start with them
// (rule E32).
func (s *serviceStore) afterDelete(obj runtime.Object, options *metav1.DeleteOptions) {
	svc := obj.(*corev1.Service)
	if options != nil && dryrun.IsDryRun(options.DryRun) {
		return
	}
	// The hook has no context. The controller of Endpoints removes them as well, should this fail.
	ctx := genericapirequest.WithNamespace(genericapirequest.NewContext(), svc.Namespace)
	_, _, _ = s.endpoints.Delete(ctx, svc.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
}

// serviceStatus is the status subresource of Services. A status write can remove the last finalizer and so a Service.
type serviceStatus struct {
	partStore[*corev1.Service]
	services *serviceStore
}

// Update changes the status of a Service.
func (s serviceStatus) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, force bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	if err := s.services.load(ctx); err != nil {
		return nil, false, err
	}
	return s.partStore.Update(ctx, name, info, create, update, force, options)
}
