package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// standing is what is known about an endpoint.
type standing struct {
	failing bool
	since   time.Time // of its failing; zero when that is not known
}

// planOut decides, by the names of seats, which endpoints get no traffic, and which fail and keep it because too few of
// their pool are left. Of those that fail, the ones that still are ready stay, then the ones that failed last.
func planOut(seats []seat, known map[string]standing, keep intstr.IntOrString) (out, kept map[string]bool) {
	type member struct {
		name  string
		ready bool
	}
	pools, at := map[string][]*member{}, map[string]*member{}
	for i := range seats {
		s := &seats[i]
		if !s.ours() {
			continue
		}
		if at[s.name] == nil {
			at[s.name] = &member{name: s.name}
			pools[s.pool] = append(pools[s.pool], at[s.name])
		}
		at[s.name].ready = at[s.name].ready || s.ready
	}
	out, kept = map[string]bool{}, map[string]bool{}
	for _, pool := range pools {
		least, err := intstr.GetScaledValueFromIntOrPercent(&keep, len(pool), true)
		if err != nil {
			least = 0 // parseRule has refused it
		}
		failing := slices.DeleteFunc(slices.Clone(pool), func(m *member) bool { return !known[m.name].failing })
		slices.SortFunc(failing, func(a, b *member) int {
			if a.ready != b.ready {
				return map[bool]int{true: -1, false: 1}[a.ready]
			}
			return cmp.Or(known[b.name].since.Compare(known[a.name].since), cmp.Compare(a.name, b.name))
		})
		stay := min(max(least-(len(pool)-len(failing)), 0), len(failing))
		for i, m := range failing {
			if i < stay {
				kept[m.name] = true
			} else {
				out[m.name] = true
			}
		}
	}
	return out, kept
}

// writes are the objects that differ from what they should be, and the endpoints that gain or lose their traffic by writing.
type writes struct {
	endpoints   *corev1.Endpoints // nil: as it should be
	slices      []*discoveryv1.EndpointSlice
	left, comes map[string]bool
}

func (w *writes) none() bool { return w.endpoints == nil && len(w.slices) == 0 }

// planWrites makes the endpoints named in out not ready, and makes ready again those that we made not ready before and
// that are not in out any more.
func planWrites(v view, out map[string]bool) writes {
	w := writes{left: map[string]bool{}, comes: map[string]bool{}}
	if v.endpoints != nil {
		w.endpoints = w.rewriteEndpoints(v.endpoints, out)
	}
	for _, slice := range v.slices {
		if changed := w.rewriteSlice(slice, out); changed != nil {
			w.slices = append(w.slices, changed)
		}
	}
	return w
}

// rewriteEndpoints returns the object as it should be, nil when it is so already.
func (w *writes) rewriteEndpoints(ep *corev1.Endpoints, out map[string]bool) *corev1.Endpoints {
	before, after := takenNames(ep), map[string]bool{}
	moved := false
	next := ep.DeepCopy()
	for i := range next.Subsets {
		subset := &next.Subsets[i]
		ports := endpointsPorts(subset.Ports)
		var ready, unready, goes []corev1.EndpointAddress
		for _, a := range subset.Addresses {
			if name, _, _ := nameOf(a.IP, ports); out[name] {
				goes = append(goes, a)
				after[name], w.left[name], moved = true, true, true
				continue
			}
			ready = append(ready, a)
		}
		for _, a := range subset.NotReadyAddresses {
			name, _, _ := nameOf(a.IP, ports)
			switch {
			case before[name] && !out[name]:
				ready = append(ready, a)
				w.comes[name], moved = true, true
				continue
			case before[name]:
				after[name] = true
			}
			goes = slices.DeleteFunc(goes, func(b corev1.EndpointAddress) bool { return b.IP == a.IP }) // listed twice
			unready = append(unready, a)
		}
		subset.Addresses, subset.NotReadyAddresses = ready, append(unready, goes...)
	}
	if !moved && maps.Equal(before, after) {
		return nil
	}
	setTaken(next, after)
	return next
}

// rewriteSlice returns the slice as it should be, nil when it is so already.
func (w *writes) rewriteSlice(slice *discoveryv1.EndpointSlice, out map[string]bool) *discoveryv1.EndpointSlice {
	before, after := takenNames(slice), map[string]bool{}
	ports, moved := slicePorts(slice.Ports), false
	next := slice.DeepCopy()
	for i := range next.Endpoints {
		ep := &next.Endpoints[i]
		if len(ep.Addresses) == 0 {
			continue
		}
		name, _, _ := nameOf(ep.Addresses[0], ports)
		switch ready := ptr.Deref(ep.Conditions.Ready, true); {
		case ready && out[name]:
			ep.Conditions.Ready = ptr.To(false)
			after[name], w.left[name], moved = true, true, true
		case !ready && before[name] && !out[name]:
			ep.Conditions.Ready = ptr.To(true)
			w.comes[name], moved = true, true
		case !ready && before[name]:
			after[name] = true
		}
	}
	if !moved && maps.Equal(before, after) {
		return nil
	}
	setTaken(next, after)
	return next
}
