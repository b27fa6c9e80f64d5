package feed

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/world"
)

// touched are things that may have to be kept in another way than they are.
type touched map[touch]struct{}

type touch struct {
	kind string
	name types.NamespacedName
}

func (t touched) add(kind string, names ...types.NamespacedName) {
	for _, name := range names {
		t[touch{kind, name}] = struct{}{}
	}
}

// keep has everything kept that was touched, as it is now, once each Secret and ConfigMap of it has been read: what is kept without
// them could not be served.
func (f *Feed) keep() {
	if f.keeper == nil {
		clear(f.touched)
	}
	if len(f.touched) == 0 {
		return
	}
	w, changes := f.world.Load(), make(map[item]any, len(f.touched))
	for t := range f.touched {
		thing, known := f.thing(w, t)
		if !known {
			return
		}
		changes[named(t.kind, t.name)] = thing
	}
	f.touched = touched{}
	f.keeper.put(changes)
}

// thing is what is to be kept of something, nil if that is nothing; it is not known as long as it has not been read.
func (f *Feed) thing(w *world.World, t touch) (thing any, known bool) {
	switch t.kind {
	case itemNode:
		return object(w.Node(t.name.Name)), true
	case itemClass:
		if class := w.IngressClass(t.name.Name); class != nil && api.ServesClass(class) {
			return class, true
		}
	case itemIngress:
		if f.refs.Has(t.name) {
			return object(w.Ingress(t.name)), true
		}
	case itemService:
		_, through := f.through[t.name]
		if svc, all := w.Service(t.name); svc != nil && (through || f.used[t.name] != nil) {
			return keptService{svc, all}, true
		}
	case itemSecret:
		return wanted(t.name, f.wanted.secrets, f.goodSecret)
	case itemConfigMap:
		return wanted(t.name, f.wanted.configMaps, f.readConfigMap)
	case itemSource:
		at := slices.IndexFunc(f.cfg.Sources, func(s Source) bool { return s.Name == t.name.Name })
		return f.cfg.Sources[at].Save(), true
	}
	return nil, true
}

// goodSecret is a Secret as it was before it was spoilt, if it is.
func (f *Feed) goodSecret(name types.NamespacedName) (*corev1.Secret, bool) {
	follows := f.follows.Load()
	if follows == nil {
		return nil, false
	}
	_, known := follows.Secrets.Get(name)
	if shown := f.see(name); shown != nil {
		return shown.good(), known
	}
	return nil, known
}

func (f *Feed) readConfigMap(name types.NamespacedName) (*corev1.ConfigMap, bool) {
	if follows := f.follows.Load(); follows != nil {
		return follows.ConfigMaps.Get(name)
	}
	return nil, false
}

// wanted is an object if it is named by what is served.
func wanted[T any](name types.NamespacedName, all []types.NamespacedName, read func(types.NamespacedName) (*T, bool)) (any, bool) {
	if _, is := slices.BinarySearchFunc(all, name, api.CompareNames); !is {
		return nil, true
	}
	one, known := read(name)
	return object(one), known
}

// object is nil if a pointer is.
func object[T any](p *T) any {
	if p == nil {
		return nil
	}
	return p
}
