package healthcheck

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

	"fairlead.dev/fairlead/api"
)

// health is what is known about an endpoint.
type health struct {
	failing bool
	since   time.Time // of its failing; zero when that is not known
}

// ejections decides, by the names of endpoints, which get no traffic, and which fail and keep it because too few of their pool
// are healthy. Of those that fail, the ones that still are ready keep it first, then the ones that failed last.
func ejections(endpoints []Endpoint, known map[string]health, minHealthy intstr.IntOrString) (ejected, kept map[string]bool) {
	type member struct {
		name  string
		ready bool
	}
	pools, at := map[string][]*member{}, map[string]*member{}
	for i := range endpoints {
		e := &endpoints[i]
		if !e.managed() {
			continue
		}
		if at[e.Name] == nil {
			at[e.Name] = &member{name: e.Name}
			pools[e.pool] = append(pools[e.pool], at[e.Name])
		}
		at[e.Name].ready = at[e.Name].ready || e.Ready
	}
	ejected, kept = map[string]bool{}, map[string]bool{}
	for _, pool := range pools {
		least, err := intstr.GetScaledValueFromIntOrPercent(&minHealthy, len(pool), true)
		if err != nil {
			least = 0 // parseSpec has refused it
		}
		failing := slices.DeleteFunc(slices.Clone(pool), func(m *member) bool { return !known[m.name].failing })
		slices.SortFunc(failing, func(a, b *member) int {
			if a.ready != b.ready {
				return map[bool]int{true: -1, false: 1}[a.ready]
			}
			return cmp.Or(known[b.name].since.Compare(known[a.name].since), cmp.Compare(a.name, b.name))
		})
		keep := min(max(least-(len(pool)-len(failing)), 0), len(failing))
		for i, m := range failing {
			if i < keep {
				kept[m.name] = true
			} else {
				ejected[m.name] = true
			}
		}
	}
	return ejected, kept
}

// Writes are the objects that differ from what they should be, and the endpoints that lose or regain their traffic by writing
// them, by name.
type Writes struct {
	Endpoints *corev1.Endpoints // nil: as it should be
	Slices    []*discoveryv1.EndpointSlice

	Ejected, Restored map[string]bool
}

// None reports whether there is nothing to write.
func (w *Writes) None() bool { return w.Endpoints == nil && len(w.Slices) == 0 }

// rewrite makes the endpoints named in eject not ready, and makes ready again those that we made not ready before and that are
// not in it any more.
func rewrite(v View, eject map[string]bool) Writes {
	w := Writes{Ejected: map[string]bool{}, Restored: map[string]bool{}}
	if v.Endpoints != nil {
		w.Endpoints = w.rewriteEndpoints(v.Endpoints, eject)
	}
	for _, slice := range v.Slices {
		if changed := w.rewriteSlice(slice, eject); changed != nil {
			w.Slices = append(w.Slices, changed)
		}
	}
	return w
}

// rewriteEndpoints returns the object as it should be, nil when it is so already.
func (w *Writes) rewriteEndpoints(ep *corev1.Endpoints, eject map[string]bool) *corev1.Endpoints {
	before, after := Ejected(ep), map[string]bool{}
	moved := false
	next := ep.DeepCopy()
	for i := range next.Subsets {
		subset := &next.Subsets[i]
		ports := endpointsPorts(subset.Ports)
		var ready, unready, goes []corev1.EndpointAddress
		for _, a := range subset.Addresses {
			if name, _, _ := nameOf(a.IP, ports); eject[name] {
				goes = append(goes, a)
				after[name], w.Ejected[name], moved = true, true, true
				continue
			}
			ready = append(ready, a)
		}
		for _, a := range subset.NotReadyAddresses {
			name, _, _ := nameOf(a.IP, ports)
			switch {
			case before[name] && !eject[name]:
				ready = append(ready, a)
				w.Restored[name], moved = true, true
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
	setEjected(next, after)
	return next
}

// rewriteSlice returns the slice as it should be, nil when it is so already.
func (w *Writes) rewriteSlice(slice *discoveryv1.EndpointSlice, eject map[string]bool) *discoveryv1.EndpointSlice {
	before, after := Ejected(slice), map[string]bool{}
	ports, moved := slicePorts(slice.Ports), false
	next := slice.DeepCopy()
	for i := range next.Endpoints {
		ep := &next.Endpoints[i]
		if len(ep.Addresses) == 0 {
			continue
		}
		name, _, _ := nameOf(ep.Addresses[0], ports)
		switch ready := api.EndpointReady(&ep.Conditions); {
		case ready && eject[name]:
			ep.Conditions.Ready = ptr.To(false)
			after[name], w.Ejected[name], moved = true, true, true
		case !ready && before[name] && !eject[name]:
			ep.Conditions.Ready = ptr.To(true)
			w.Restored[name], moved = true, true
		case !ready && before[name]:
			after[name] = true
		}
	}
	if !moved && maps.Equal(before, after) {
		return nil
	}
	setEjected(next, after)
	return next
}
