package ingressrefs

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Index is what Ingresses name together. A change of one Ingress costs what that one names, however many others there are. Make one
// with NewIndex.
type Index struct {
	of                  map[types.NamespacedName]names // by Ingress
	secrets, configMaps users
	all                 *names // that Names has put in order; nil: it has not
}

// names are what is named, by one Ingress or all.
type names struct{ secrets, configMaps []types.NamespacedName }

// users are the Ingresses that name an object.
type users map[types.NamespacedName]map[types.NamespacedName]struct{}

// NewIndex returns an Index of no Ingress.
func NewIndex() *Index {
	return &Index{of: map[types.NamespacedName]names{}, secrets: users{}, configMaps: users{}}
}

// Put makes an Ingress count as it is now, or not any more if it is nil, and reports whether Names are others than before.
func (x *Index) Put(name types.NamespacedName, ing *networkingv1.Ingress) (others bool) {
	was, known := x.of[name]
	var is names
	if ing != nil {
		is = names{Secrets(ing), ConfigMaps(ing)}
		x.of[name] = is
	} else if known {
		delete(x.of, name)
	}
	others = x.secrets.move(name, was.secrets, is.secrets)
	others = x.configMaps.move(name, was.configMaps, is.configMaps) || others
	if others {
		x.all = nil
	}
	return others
}

// move has an Ingress name other objects, and reports whether one is named that was not, or no more.
func (u users) move(ingress types.NamespacedName, from, to []types.NamespacedName) (others bool) {
	if slices.Equal(from, to) {
		return false
	}
	for _, n := range to {
		if u[n] == nil {
			u[n], others = map[types.NamespacedName]struct{}{}, true
		}
		u[n][ingress] = struct{}{}
	}
	for _, n := range from {
		if slices.Contains(to, n) {
			continue
		}
		if delete(u[n], ingress); len(u[n]) == 0 {
			delete(u, n)
			others = true
		}
	}
	return others
}

// Len is the number of Ingresses that count.
func (x *Index) Len() int { return len(x.of) }

// Has reports whether an Ingress counts.
func (x *Index) Has(ingress types.NamespacedName) bool {
	_, known := x.of[ingress]
	return known
}

// Names are the Secrets and ConfigMaps that are named, each once, in order. Callers must not change what they are given.
func (x *Index) Names() (secrets, configMaps []types.NamespacedName) {
	if x.all == nil {
		x.all = &names{x.secrets.names(), x.configMaps.names()}
	}
	return x.all.secrets, x.all.configMaps
}

func (u users) names() []types.NamespacedName {
	all := make([]types.NamespacedName, 0, len(u))
	for n := range u {
		all = append(all, n)
	}
	slices.SortFunc(all, api.CompareNames)
	return all
}

// Users are the Ingresses that name anything, in no order.
func (x *Index) Users(yield func(types.NamespacedName) bool) {
	for ingress, n := range x.of {
		if len(n.secrets)+len(n.configMaps) > 0 && !yield(ingress) {
			return
		}
	}
}
