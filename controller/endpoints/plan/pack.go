package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// template is what all slices of one owner have in common.
type template struct {
	namespace, name string // of the owner
	owner           metav1.OwnerReference
	labels          map[string]string         // exactly these, nothing else
	annotations     map[string]string         // exactly these; nil leaves them as they are
	placeholders    []discoveryv1.AddressType // families that must not be without a slice
	created         time.Time                 // the trigger time of the very first slices
}

// group is what all endpoints of one slice share (rule E54).
type group struct {
	family discoveryv1.AddressType
	ports  string // canonical text of the port list
}

// desired is one group's wanted endpoints.
type desired struct {
	ports     []discoveryv1.EndpointPort
	endpoints []desiredEndpoint
}

// desiredEndpoint is one wanted endpoint, and while a plan is being made what has become of it.
type desiredEndpoint struct {
	endpoint discoveryv1.Endpoint
	since    time.Time // the last change of its readiness; zero when unknown
	anyHints bool      // the hints that it has are as good as any

	placed  bool // it has a place in a slice that exists
	changed bool // it had other conditions there
}

func (d *desired) add(ep desiredEndpoint) { d.endpoints = append(d.endpoints, ep) }

// identity says whether two endpoints are the same one at two moments (rule E60).
type identity struct {
	namespace, pod, addresses, hostname string
}

func (id identity) compare(other identity) int {
	return cmp.Or(
		cmp.Compare(id.namespace, other.namespace), cmp.Compare(id.pod, other.pod),
		cmp.Compare(id.addresses, other.addresses), cmp.Compare(id.hostname, other.hostname),
	)
}

func identify(ep *discoveryv1.Endpoint) identity {
	id := identity{addresses: ep.Addresses[0], hostname: ptr.Deref(ep.Hostname, "")}
	if len(ep.Addresses) > 1 {
		id.addresses = strings.Join(ep.Addresses, ",")
	}
	if ep.TargetRef != nil {
		id.namespace, id.pod = ep.TargetRef.Namespace, ep.TargetRef.Name
	}
	return id
}

// slicePlan is one slice while its plan is being made.
type slicePlan struct {
	object    *discoveryv1.EndpointSlice // as it exists; nil: to be created; never mutated
	group     group
	ports     []discoveryv1.EndpointPort
	endpoints []*desiredEndpoint
	dirty     bool // differs from object
	retired   bool // to be deleted
}

// pending reports whether the slice needs a write.
func (s *slicePlan) pending() bool { return s.dirty || s.retired }

// room returns how many endpoints the slice can still take.
func (s *slicePlan) room() int { return sliceLimit - len(s.endpoints) }

// take moves endpoints from the front of left into the slice until it is full, and returns the rest.
func (s *slicePlan) take(left []*desiredEndpoint) []*desiredEndpoint {
	n := min(s.room(), len(left))
	if n <= 0 {
		return left
	}
	s.dirty = true
	s.endpoints = append(s.endpoints, left[:n]...)
	return left[n:]
}

// arrange distributes the wanted endpoints over slices with as few writes as possible: steps 3 to
// 9 of Slices.
func arrange(t template, groups map[group]*desired, existing []*discoveryv1.EndpointSlice) Changes {
	existing = slices.SortedFunc(slices.Values(existing), func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Compare(a.Name, b.Name)
	})
	var plans []*slicePlan
	present := map[group][]*discoveryv1.EndpointSlice{}
	for _, slice := range existing {
		_, text := canonicalPorts(slice.Ports)
		g := group{family: slice.AddressType, ports: text}
		if t.owns(slice) && groups[g] != nil {
			present[g] = append(present[g], slice)
		} else {
			plans = append(plans, &slicePlan{object: slice, group: g, retired: true})
		}
	}
	for _, g := range slices.SortedFunc(maps.Keys(groups), compareGroups) {
		plans = append(plans, t.pack(g, groups[g], present[g])...)
	}
	plans = t.placehold(plans)
	if !slices.ContainsFunc(plans, (*slicePlan).pending) {
		return Changes{}
	}
	t.recycle(plans)
	return t.build(plans, t.trigger(groups, existing))
}

func compareGroups(a, b group) int {
	return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.ports, b.ports))
}

// owns reports whether a slice belongs to the template's owner. Names do not count: a Service of the
// same name may have lived before (rule E53).
func (t *template) owns(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.UID == t.owner.UID
	})
}

// pack distributes one group over its slices: steps 4, 5 and 6 of Slices.
func (t *template) pack(g group, want *desired, present []*discoveryv1.EndpointSlice) []*slicePlan {
	plans := make([]*slicePlan, 0, len(present)+1)
	wanted := make(map[identity]*desiredEndpoint, len(want.endpoints))
	for i := range want.endpoints {
		wanted[identify(&want.endpoints[i].endpoint)] = &want.endpoints[i]
	}
	for _, slice := range present {
		plans = append(plans, t.keep(g, slice, wanted))
	}
	left := want.unplaced()

	fullestFirst := slices.Clone(plans)
	slices.SortStableFunc(fullestFirst, func(a, b *slicePlan) int { return cmp.Compare(a.room(), b.room()) })
	for _, s := range fullestFirst {
		if s.dirty {
			left = s.take(left)
		}
	}
	for len(left) > 0 {
		s := bestFit(plans, len(left))
		if s == nil {
			s = &slicePlan{group: g, ports: want.ports}
			plans = append(plans, s)
		}
		left = s.take(left)
	}
	for _, s := range plans {
		s.retired = len(s.endpoints) == 0
	}
	return plans
}

// keep compares an existing slice with the wanted endpoints, and gives them their place: step 4.
func (t *template) keep(g group, slice *discoveryv1.EndpointSlice, wanted map[identity]*desiredEndpoint) *slicePlan {
	s := &slicePlan{object: slice, group: g, ports: slice.Ports, dirty: t.mislabelled(slice)}
	s.endpoints = make([]*desiredEndpoint, 0, len(slice.Endpoints))
	for i := range slice.Endpoints {
		have := &slice.Endpoints[i]
		if len(have.Addresses) == 0 {
			s.dirty = true
			continue
		}
		want := wanted[identify(have)]
		if want == nil || want.placed || s.room() == 0 {
			s.dirty = true
			continue
		}
		want.placed = true
		want.changed = !sameConditions(&have.Conditions, &want.endpoint.Conditions)
		if want.anyHints {
			want.endpoint.Hints = have.Hints
		}
		if !sameEndpoint(have, &want.endpoint) {
			s.dirty = true
		}
		s.endpoints = append(s.endpoints, want)
	}
	return s
}

// mislabelled reports whether a slice must be written for its metadata alone (rule E50).
func (t *template) mislabelled(slice *discoveryv1.EndpointSlice) bool {
	if !maps.Equal(slice.Labels, t.labels) {
		return true
	}
	if t.annotations == nil {
		return false
	}
	annotations := maps.Clone(slice.Annotations)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	return !maps.Equal(annotations, t.annotations)
}

// unplaced returns the endpoints without a place, in the order in which they enter slices: by pod
// name, then address, so that the same input always gives the same slices.
func (d *desired) unplaced() []*desiredEndpoint {
	var left []*desiredEndpoint
	for i := range d.endpoints {
		if !d.endpoints[i].placed {
			left = append(left, &d.endpoints[i])
		}
	}
	slices.SortFunc(left, func(a, b *desiredEndpoint) int {
		return identify(&a.endpoint).compare(identify(&b.endpoint))
	})
	return left
}

// bestFit returns the slice that n more endpoints bring closest to full, nil when they fit into
// none (rule E63). It is an untouched one: those that are written anyway are full by now.
func bestFit(plans []*slicePlan, n int) *slicePlan {
	var best *slicePlan
	for _, s := range plans {
		if s.room() < n {
			continue
		}
		if best == nil || s.room() < best.room() {
			best = s
		}
	}
	return best
}

// placehold is step 7 of Slices: consumers can tell "no endpoints" from "not looked at yet"
// because every wanted family always has a slice.
func (t *template) placehold(plans []*slicePlan) []*slicePlan {
	for _, family := range t.placeholders {
		empty := group{family: family}
		if slices.ContainsFunc(plans, func(s *slicePlan) bool { return s.group.family == family && !s.retired }) {
			continue
		}
		i := slices.IndexFunc(plans, func(s *slicePlan) bool {
			return s.group == empty && s.retired && len(s.object.Endpoints) == 0 &&
				t.owns(s.object) && !t.mislabelled(s.object)
		})
		if i >= 0 {
			plans[i].retired, plans[i].dirty = false, false
			continue
		}
		plans = append(plans, &slicePlan{group: empty, dirty: true})
	}
	return plans
}

// recycle is step 8 of Slices.
func (t *template) recycle(plans []*slicePlan) {
	for _, s := range plans {
		if s.object != nil {
			continue
		}
		i := slices.IndexFunc(plans, func(old *slicePlan) bool {
			return old.retired && old.object != nil && old.group.family == s.group.family && t.owns(old.object)
		})
		if i < 0 {
			continue
		}
		s.object, plans[i].object = plans[i].object, nil
	}
}
