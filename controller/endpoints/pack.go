package endpoints

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

// mould is what all slices of one owner have in common.
type mould struct {
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

// roster is one group's wanted endpoints.
type roster struct {
	ports   []discoveryv1.EndpointPort
	members []member
}

// member is one wanted endpoint, and while a plan is being made what has become of it.
type member struct {
	endpoint discoveryv1.Endpoint
	since    time.Time // the last change of its readiness; zero when unknown
	anyHints bool      // the hints that it has are as good as any

	placed  bool // it has a place in a slice that exists
	changed bool // it had other conditions there
}

func (r *roster) add(m member) { r.members = append(r.members, m) }

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

// sheet is one slice while its plan is being made.
type sheet struct {
	object  *discoveryv1.EndpointSlice // as it exists; nil: to be created; never mutated
	group   group
	ports   []discoveryv1.EndpointPort
	members []*member
	dirty   bool // differs from object
	retired bool // to be deleted
}

// pending reports whether the sheet needs a write.
func (s *sheet) pending() bool { return s.dirty || s.retired }

// room returns how many endpoints the sheet can still take.
func (s *sheet) room() int { return sliceLimit - len(s.members) }

// take moves members from the front of left into the sheet until it is full, and returns the rest.
func (s *sheet) take(left []*member) []*member {
	n := min(s.room(), len(left))
	if n <= 0 {
		return left
	}
	s.dirty = true
	s.members = append(s.members, left[:n]...)
	return left[n:]
}

// arrange distributes the wanted endpoints over slices with as few writes as possible: steps 3 to
// 9 of planSlices.
func arrange(m mould, groups map[group]*roster, existing []*discoveryv1.EndpointSlice) changes {
	existing = slices.SortedFunc(slices.Values(existing), func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Compare(a.Name, b.Name)
	})
	var sheets []*sheet
	present := map[group][]*discoveryv1.EndpointSlice{}
	for _, slice := range existing {
		_, text := canonicalPorts(slice.Ports)
		g := group{family: slice.AddressType, ports: text}
		if m.owns(slice) && groups[g] != nil {
			present[g] = append(present[g], slice)
		} else {
			sheets = append(sheets, &sheet{object: slice, group: g, retired: true})
		}
	}
	for _, g := range slices.SortedFunc(maps.Keys(groups), compareGroups) {
		sheets = append(sheets, m.pack(g, groups[g], present[g])...)
	}
	sheets = m.placehold(sheets)
	if !slices.ContainsFunc(sheets, (*sheet).pending) {
		return changes{}
	}
	m.recycle(sheets)
	return m.stamp(sheets, m.trigger(groups, existing))
}

func compareGroups(a, b group) int {
	return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.ports, b.ports))
}

// owns reports whether a slice belongs to the mould's owner. Names do not count: a Service of the
// same name may have lived before (rule E53).
func (m *mould) owns(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.UID == m.owner.UID
	})
}

// pack distributes one group over its slices: steps 4, 5 and 6 of planSlices.
func (m *mould) pack(g group, want *roster, present []*discoveryv1.EndpointSlice) []*sheet {
	sheets := make([]*sheet, 0, len(present)+1)
	wanted := make(map[identity]*member, len(want.members))
	for i := range want.members {
		wanted[identify(&want.members[i].endpoint)] = &want.members[i]
	}
	for _, slice := range present {
		sheets = append(sheets, m.keep(g, slice, wanted))
	}
	left := want.unplaced()

	fullestFirst := slices.Clone(sheets)
	slices.SortStableFunc(fullestFirst, func(a, b *sheet) int { return cmp.Compare(a.room(), b.room()) })
	for _, s := range fullestFirst {
		if s.dirty {
			left = s.take(left)
		}
	}
	for len(left) > 0 {
		s := bestFit(sheets, len(left))
		if s == nil {
			s = &sheet{group: g, ports: want.ports}
			sheets = append(sheets, s)
		}
		left = s.take(left)
	}
	for _, s := range sheets {
		s.retired = len(s.members) == 0
	}
	return sheets
}

// keep compares an existing slice with the wanted endpoints, and gives them their place: step 4.
func (m *mould) keep(g group, slice *discoveryv1.EndpointSlice, wanted map[identity]*member) *sheet {
	s := &sheet{object: slice, group: g, ports: slice.Ports, dirty: m.mislabelled(slice)}
	s.members = make([]*member, 0, len(slice.Endpoints))
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
		s.members = append(s.members, want)
	}
	return s
}

// mislabelled reports whether a slice must be written for its metadata alone (rule E50).
func (m *mould) mislabelled(slice *discoveryv1.EndpointSlice) bool {
	if !maps.Equal(slice.Labels, m.labels) {
		return true
	}
	if m.annotations == nil {
		return false
	}
	annotations := maps.Clone(slice.Annotations)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	return !maps.Equal(annotations, m.annotations)
}

// unplaced returns the members without a place, in the order in which they enter slices: by pod
// name, then address, so that the same input always gives the same slices.
func (r *roster) unplaced() []*member {
	var left []*member
	for i := range r.members {
		if !r.members[i].placed {
			left = append(left, &r.members[i])
		}
	}
	slices.SortFunc(left, func(a, b *member) int {
		return identify(&a.endpoint).compare(identify(&b.endpoint))
	})
	return left
}

// bestFit returns the slice that n more endpoints bring closest to full, nil when they fit into
// none (rule E63). It is an untouched one: those that are written anyway are full by now.
func bestFit(sheets []*sheet, n int) *sheet {
	var best *sheet
	for _, s := range sheets {
		if s.room() < n {
			continue
		}
		if best == nil || s.room() < best.room() {
			best = s
		}
	}
	return best
}

// placehold is step 7 of planSlices: consumers can tell "no endpoints" from "not looked at yet"
// because every wanted family always has a slice.
func (m *mould) placehold(sheets []*sheet) []*sheet {
	for _, family := range m.placeholders {
		empty := group{family: family}
		if slices.ContainsFunc(sheets, func(s *sheet) bool { return s.group.family == family && !s.retired }) {
			continue
		}
		i := slices.IndexFunc(sheets, func(s *sheet) bool {
			return s.group == empty && s.retired && len(s.object.Endpoints) == 0 &&
				m.owns(s.object) && !m.mislabelled(s.object)
		})
		if i >= 0 {
			sheets[i].retired, sheets[i].dirty = false, false
			continue
		}
		sheets = append(sheets, &sheet{group: empty, dirty: true})
	}
	return sheets
}

// recycle is step 8 of planSlices.
func (m *mould) recycle(sheets []*sheet) {
	for _, s := range sheets {
		if s.object != nil {
			continue
		}
		i := slices.IndexFunc(sheets, func(old *sheet) bool {
			return old.retired && old.object != nil && old.group.family == s.group.family && m.owns(old.object)
		})
		if i < 0 {
			continue
		}
		s.object, sheets[i].object = sheets[i].object, nil
	}
}
