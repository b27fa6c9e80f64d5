package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api/kinds"
)

// addressPools is the row of AddressPool, in a cluster with the given ranges of pods and Services, which are nobody else's.
func addressPools(pods, services []netip.Prefix) *kind[*kinds.AddressPool] {
	validate := func(_ context.Context, p *kinds.AddressPool) field.ErrorList {
		errs := validateMeta(&p.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
		return append(errs, validatePool(&p.Spec, pods, services, field.NewPath("spec"))...)
	}
	return &kind[*kinds.AddressPool]{
		group: kinds.GroupName, plural: "addresspools", singular: "addresspool", short: []string{"pool"}, cluster: true,
		new:     func() *kinds.AddressPool { return &kinds.AddressPool{} },
		list:    func() runtime.Object { return &kinds.AddressPoolList{} },
		prepare: func(_ context.Context, p *kinds.AddressPool) { p.Status, p.Generation = kinds.AddressPoolStatus{}, 1 },
		prepareUpdate: func(_ context.Context, p, old *kinds.AddressPool) {
			p.Status = old.Status
			if !equality.Semantic.DeepEqual(p.Spec, old.Spec) {
				p.Generation = old.Generation + 1
			}
		},
		validate:      validate,
		prepareStatus: func(_ context.Context, p, old *kinds.AddressPool) { p.Spec = old.Spec },
		validateStatus: func(_ context.Context, p, _ *kinds.AddressPool) field.ErrorList {
			return metav1validation.ValidateConditions(p.Status.Conditions, field.NewPath("status", "conditions"))
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Addresses", "string", "The addresses that Services are given"),
			column("Auto", "boolean", "Whether Services that ask for no address get one of these"),
			column("Announce", "string", "How others learn where the addresses are"),
			column("Assigned", "integer", "How many addresses Services have"),
			column("Free", "integer", "How many addresses are left"),
			column("Usable", "string", "Whether addresses are given from this pool"),
			age(),
		},
		row: func(p *kinds.AddressPool) []any {
			return []any{p.Name, strings.Join(p.Spec.Addresses, ","), p.Auto(), announcements(p), p.Status.Assigned, p.Status.Free, condition(p.Status.Conditions, kinds.PoolUsable), since(p.CreationTimestamp)}
		},
	}
}

func announcements(p *kinds.AddressPool) string {
	var texts []string
	for _, a := range p.Spec.Announce {
		texts = append(texts, string(a))
	}
	return strings.Join(texts, ",")
}

// defaultPool fills in what is not said.
func defaultPool(p *kinds.AddressPool) {
	setPointer(&p.Spec.AutoAssign, true)
	if len(p.Spec.Announce) == 0 {
		p.Spec.Announce = []kinds.Announcement{kinds.AnnounceL2, kinds.AnnounceBGP}
	}
}

func validatePool(s *kinds.AddressPoolSpec, pods, services []netip.Prefix, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	addresses := path.Child("addresses")
	if len(s.Addresses) == 0 {
		errs = append(errs, field.Required(addresses, "at least one network or range"))
	}
	var all alloc.Ranges
	for i, text := range s.Addresses {
		r, err := alloc.ParseRange(text)
		if err == nil {
			err = apart(r, all, pods, services)
		}
		if err != nil {
			errs = append(errs, field.Invalid(addresses.Index(i), text, err.Error()))
			continue
		}
		all = append(all, r)
	}
	for i, a := range s.Announce {
		at := path.Child("announce").Index(i)
		errs = append(errs, oneOf(at, a, kinds.AnnounceBGP, kinds.AnnounceL2, kinds.AnnounceNone)...)
		if slices.Contains(s.Announce[:i], a) {
			errs = append(errs, field.Duplicate(at, a))
		}
	}
	if len(s.Announce) > 1 && slices.Contains(s.Announce, kinds.AnnounceNone) {
		errs = append(errs, field.Invalid(path.Child("announce"), s.Announce, "may not name another way beside None"))
	}
	for name, selector := range map[string]*metav1.LabelSelector{"serviceSelector": s.ServiceSelector, "namespaceSelector": s.NamespaceSelector} {
		errs = append(errs, metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path.Child(name))...)
	}
	return errs
}

// apart refuses addresses that are in the pool already, or that mean something else in the cluster.
func apart(r alloc.Range, others alloc.Ranges, pods, services []netip.Prefix) error {
	if others.Overlaps(r) {
		return errors.New("must not overlap another of the pool's ranges")
	}
	for _, p := range pods {
		if r.Overlaps(alloc.RangeOf(p)) {
			return fmt.Errorf("must not overlap %s, the addresses of pods", p)
		}
	}
	for _, p := range services {
		if r.Overlaps(alloc.RangeOf(p)) {
			return fmt.Errorf("must not overlap %s, the cluster addresses of Services", p)
		}
	}
	return nil
}
