package registry

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage"
	networking "k8s.io/kubernetes/pkg/apis/networking"
	convert "k8s.io/kubernetes/pkg/apis/networking/v1"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"

	"fairlead.dev/fairlead/alloc"
)

// GivenRanges is the ServiceCIDR of the ranges that the cluster was started with.
const GivenRanges = "kubernetes"

// serviceCIDRs are the ranges of Service addresses (rule S30). What the nodes of this cluster would not serve is refused.
func serviceCIDRs(pods, services []netip.Prefix) *kind[*networkingv1.ServiceCIDR] {
	k := adopt(foreign[*networkingv1.ServiceCIDR, *networking.ServiceCIDR]{
		strategy: servicecidr.Strategy, status: servicecidr.StatusStrategy,
		in: convert.Convert_v1_ServiceCIDR_To_networking_ServiceCIDR, out: convert.Convert_networking_ServiceCIDR_To_v1_ServiceCIDR,
	}, kind[*networkingv1.ServiceCIDR]{
		group: networkingv1.GroupName, plural: "servicecidrs", singular: "servicecidr",
		list: func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
	})
	valid, validUpdate := k.validate, k.validateUpdate
	k.validate = func(ctx context.Context, c *networkingv1.ServiceCIDR) field.ErrorList {
		if errs := valid(ctx, c); len(errs) > 0 {
			return errs
		}
		return unserved(c, 0, pods, services)
	}
	k.validateUpdate = func(ctx context.Context, c, old *networkingv1.ServiceCIDR) field.ErrorList {
		if errs := validUpdate(ctx, c, old); len(errs) > 0 {
			return errs
		}
		return unserved(c, len(old.Spec.CIDRs), pods, services)
	}
	return k
}

// unserved says which ranges of c, from one on, no Service of this cluster could be reached at.
func unserved(c *networkingv1.ServiceCIDR, from int, pods, services []netip.Prefix) field.ErrorList {
	var errs field.ErrorList
	for i := from; i < len(c.Spec.CIDRs); i++ {
		path := field.NewPath("spec", "cidrs").Index(i)
		p, err := netip.ParsePrefix(c.Spec.CIDRs[i])
		if err != nil {
			continue // upstream's validation has said so
		}
		if _, err := alloc.NewAddresses(p); err != nil {
			errs = append(errs, field.Invalid(path, p.String(), err.Error()))
		}
		if !containsFamily(services, p) {
			errs = append(errs, field.Invalid(path, p.String(), fmt.Sprintf("nodes serve no addresses of this family: the cluster was started with %v alone", services)))
		}
		for _, other := range pods {
			if p.Overlaps(other) {
				errs = append(errs, field.Invalid(path, p.String(), fmt.Sprintf("must not overlap the addresses of pods, %s: nodes route those to pods", other)))
			}
		}
	}
	return errs
}

func containsFamily(prefixes []netip.Prefix, p netip.Prefix) bool {
	for _, other := range prefixes {
		if other.Addr().Is4() == p.Addr().Is4() {
			return true
		}
	}
	return false
}

// rangeBook is the storage of ServiceCIDRs that has each write tell the numbers of Services which ranges there are now. A range
// that is being deleted gives no address from the moment that is stored.
type rangeBook struct {
	storage.Interface
	numbers *numbers
}

// Create is part of storage.Interface.
func (b rangeBook) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	err := b.Interface.Create(ctx, key, obj, out, ttl)
	if err == nil {
		b.numbers.declare(out.(*networkingv1.ServiceCIDR))
	}
	return err
}

// GuaranteedUpdate is part of storage.Interface.
func (b rangeBook) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, ignoreNotFound bool, conditions *storage.Preconditions,
	try storage.UpdateFunc, cached runtime.Object) error {
	err := b.Interface.GuaranteedUpdate(ctx, key, out, ignoreNotFound, conditions, try, cached)
	if err == nil {
		b.numbers.declare(out.(*networkingv1.ServiceCIDR))
	}
	return err
}

// Delete is part of storage.Interface.
func (b rangeBook) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, options storage.DeleteOptions) error {
	err := b.Interface.Delete(ctx, key, out, conditions, validate, cached, options)
	if err == nil {
		b.numbers.withdraw(out.(*networkingv1.ServiceCIDR))
	}
	return err
}

// booked is a store whose storage is put between it and its own. The generic store counts its objects from the beginning, and
// must not see its storage change.
func booked[T object](plain store[T], book func(storage.Interface) storage.Interface) store[T] {
	own := *plain.Store
	plain.Store = &own
	plain.Storage.Storage = book(plain.Storage.Storage)
	return plain
}

// givesAddresses reports whether Services get addresses of c. Those of the cluster's start do as long as they are not being deleted:
// its first Services need them before anybody could say that they are ready.
func givesAddresses(c *networkingv1.ServiceCIDR) bool {
	return c.DeletionTimestamp == nil && (c.Name == GivenRanges || meta.IsStatusConditionTrue(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady))
}

// prefixesOf are the ranges of c.
func prefixesOf(c *networkingv1.ServiceCIDR) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// versionOf is the resource version of an object as a number.
func versionOf(o object) uint64 {
	version, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return version
}
