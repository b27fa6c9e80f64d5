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
	for _, of := range f.refs {
		all.secrets, all.configMaps = append(all.secrets, of.secrets...), append(all.configMaps, of.configMaps...)
	}
	for _, s := range f.sources {
		all.secrets = append(all.secrets, s.secrets...)
	}
	all = names{once(all.secrets), once(all.configMaps)}
	if slices.Equal(all.secrets, f.wanted.secrets) && slices.Equal(all.configMaps, f.wanted.configMaps) {
		return
	}
	f.wanted = all
	if follows := f.follows.Load(); follows != nil {
		follows.want(all)
	}
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
		return find(s.Secrets, name)
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
		return find(s.ConfigMaps, name)
	}
	return nil
}
