package gateway

import (
	corev1 "k8s.io/api/core/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// referrer is the kind and namespace of an object that names others.
type referrer struct {
	kind      gw.Kind // of gateway.networking.k8s.io
	namespace string
}

// grants are the ReferenceGrants by the namespace that they open.
type grants map[string][]*gw.ReferenceGrant

func newGrants(all []*gw.ReferenceGrant) grants {
	g := grants{}
	for _, one := range all {
		g[one.Namespace] = append(g[one.Namespace], one)
	}
	return g
}

// allow reports whether an object may be named by a referrer: in the same namespace always, in another one by a grant there.
func (g grants) allow(from referrer, kind gw.Kind, namespace, name string) bool {
	if namespace == from.namespace {
		return true
	}
	for _, grant := range g[namespace] {
		if grantsFrom(grant, from) && grantsTo(grant, kind, name) {
			return true
		}
	}
	return false
}

func grantsFrom(grant *gw.ReferenceGrant, from referrer) bool {
	for _, f := range grant.Spec.From {
		if f.Group == gw.GroupName && f.Kind == from.kind && string(f.Namespace) == from.namespace {
			return true
		}
	}
	return false
}

// grantsTo is about kinds of the core group: no other can be named.
func grantsTo(grant *gw.ReferenceGrant, kind gw.Kind, name string) bool {
	for _, t := range grant.Spec.To {
		if t.Group == corev1.GroupName && t.Kind == kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}
