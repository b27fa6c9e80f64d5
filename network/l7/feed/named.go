package feed

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// want names the Secrets and ConfigMaps that are served with.
func (f *Feed) want() {
	var all names
	all.secrets, all.configMaps = f.refs.Names()
	for _, s := range f.sources {
		if len(s.secrets) > 0 {
			all.secrets = once(slices.Concat(all.secrets, s.secrets))
		}
	}
	before := f.wanted
	if slices.Equal(all.secrets, before.secrets) && slices.Equal(all.configMaps, before.configMaps) {
		return
	}
	f.wanted = all
	f.touched.add(itemSecret, apart(before.secrets, all.secrets)...)
	f.touched.add(itemConfigMap, apart(before.configMaps, all.configMaps)...)
	if follows := f.follows.Load(); follows != nil {
		follows.want(all)
	}
}

// apart are the names that are in one of two lists only, which are in order.
func apart(a, b []types.NamespacedName) (all []types.NamespacedName) {
	for len(a) > 0 && len(b) > 0 {
		switch c := api.CompareNames(a[0], b[0]); {
		case c < 0:
			all, a = append(all, a[0]), a[1:]
		case c > 0:
			all, b = append(all, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// once is a list in order, with each name once.
func once(list []types.NamespacedName) []types.NamespacedName {
	slices.SortFunc(list, api.CompareNames)
	return slices.Compact(list)
}

func (f *Follows) want(all names) {
	f.Secrets.Want(all.secrets)
	f.ConfigMaps.Want(all.configMaps)
}

// allKnown reports whether every Secret and ConfigMap that is named has been read.
func (f *Feed) allKnown() bool {
	follows := f.follows.Load()
	return follows != nil &&
		!slices.ContainsFunc(f.wanted.secrets, func(n types.NamespacedName) bool { _, known := follows.Secrets.Get(n); return !known }) &&
		!slices.ContainsFunc(f.wanted.configMaps, func(n types.NamespacedName) bool { _, known := follows.ConfigMaps.Get(n); return !known })
}

// secret is what is known of a Secret: as it was read, or else, as long as something of what was kept is served, as it was kept. nil:
// there is none.
func (f *Feed) secret(name types.NamespacedName) *corev1.Secret {
	if follows := f.follows.Load(); follows != nil {
		if secret, _ := follows.Secrets.Get(name); secret != nil {
			return secret
		}
	}
	if s := f.saved.Load(); s != nil {
		return s.secrets[name]
	}
	return nil
}

// configMap is what is known of a ConfigMap, likewise.
func (f *Feed) configMap(name types.NamespacedName) *corev1.ConfigMap {
	if follows := f.follows.Load(); follows != nil {
		if m, _ := follows.ConfigMaps.Get(name); m != nil {
			return m
		}
	}
	if s := f.saved.Load(); s != nil {
		return s.configMaps[name]
	}
	return nil
}
