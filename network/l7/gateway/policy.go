package gateway

import (
	"crypto/x509"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// backendTLS is a BackendTLSPolicy.
type backendTLS struct {
	policy     *gw.BackendTLSPolicy
	bundles    []*corev1.ConfigMap // that its references named, nil for those that did not exist
	tls        *route.BackendTLS
	accepted   verdict
	resolved   verdict
	broken     string // why nothing can be sent to what it is for; empty: it can
	conflicted bool   // an older one is for the same ports
}

// policies are all of them, and by Service those that hold for all its ports (the empty name), or one.
type policies struct {
	all []*backendTLS
	by  map[types.NamespacedName]map[string]*backendTLS
}

// find is the policy for a port of a Service: the one that names it, or the one for all.
func (p *policies) find(s *corev1.Service, port int32) *backendTLS {
	sections := p.by[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]
	if sections == nil {
		return nil
	}
	for _, sp := range s.Spec.Ports {
		if sp.Port == port && sp.Name != "" && sections[sp.Name] != nil {
			return sections[sp.Name]
		}
	}
	return sections[""]
}

// readPolicies finds which BackendTLSPolicy holds for which port. Of several for the same one the oldest does.
func (d *derivation) readPolicies() {
	d.policies = &policies{by: map[types.NamespacedName]map[string]*backendTLS{}}
	for _, o := range oldestFirst(d.view.Policies) {
		if o.DeletionTimestamp != nil {
			continue
		}
		p := d.before.pools[o]
		if p == nil || !d.sameBundles(p) {
			p = d.readPolicy(o)
		}
		p.conflicted = false
		d.memory.pools[o] = p
		d.policies.all = append(d.policies.all, p)
		for _, t := range o.Spec.TargetRefs {
			if t.Group != corev1.GroupName || t.Kind != "Service" {
				continue
			}
			name := types.NamespacedName{Namespace: o.Namespace, Name: string(t.Name)}
			if d.policies.by[name] == nil {
				d.policies.by[name] = map[string]*backendTLS{}
			}
			if section := text(t.SectionName); d.policies.by[name][section] == nil {
				d.policies.by[name][section] = p
			} else {
				p.conflicted = true
			}
		}
	}
}

func (d *derivation) sameBundles(p *backendTLS) bool {
	for i, ref := range p.policy.Spec.Validation.CACertificateRefs {
		if d.view.ConfigMap(types.NamespacedName{Namespace: p.policy.Namespace, Name: string(ref.Name)}) != p.bundles[i] {
			return false
		}
	}
	return true
}

// readPolicy is what a policy says.
func (d *derivation) readPolicy(o *gw.BackendTLSPolicy) *backendTLS {
	v := o.Spec.Validation
	p := &backendTLS{
		policy: o, tls: &route.BackendTLS{ServerName: string(v.Hostname)},
		accepted: yes(gw.PolicyReasonAccepted, "Policy is accepted"), resolved: yes(gw.BackendTLSPolicyReasonResolvedRefs, "All references are resolved"),
	}
	for _, san := range v.SubjectAltNames {
		if san.Type == gw.URISubjectAltNameType {
			p.tls.Names = append(p.tls.Names, string(san.URI))
		} else {
			p.tls.Names = append(p.tls.Names, string(san.Hostname))
		}
	}
	if text(v.WellKnownCACertificates) != "" {
		p.tls.System = true
		return p
	}
	pool, valid := x509.NewCertPool(), 0
	for _, ref := range v.CACertificateRefs {
		p.bundles = append(p.bundles, d.view.ConfigMap(types.NamespacedName{Namespace: o.Namespace, Name: string(ref.Name)}))
		from := referrer{"BackendTLSPolicy", o.Namespace}
		problem := d.bundle(nil, from, gw.ObjectReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}, pool)
		switch {
		case problem == nil:
			valid++
		case problem.reason == unknownKind:
			p.resolved = no(gw.BackendTLSPolicyReasonInvalidKind, problem.message)
		default:
			p.resolved = no(gw.BackendTLSPolicyReasonInvalidCACertificateRef, problem.message)
		}
	}
	if p.tls.CAs = pool; valid == 0 {
		p.accepted = no(gw.BackendTLSPolicyReasonNoValidCACertificate, "No certificate authority that is named can be used: "+p.resolved.message)
		p.broken = fmt.Sprintf("BackendTLSPolicy %s/%s: %s", o.Namespace, o.Name, p.resolved.message)
	}
	return p
}

// reads are the ConfigMaps that a policy names.
func (p *backendTLS) reads() []api.Read {
	var all []api.Read
	for _, ref := range p.policy.Spec.Validation.CACertificateRefs {
		if ref.Group == corev1.GroupName && ref.Kind == "ConfigMap" {
			all = append(all, api.Read{Resource: "configmaps", Name: types.NamespacedName{Namespace: p.policy.Namespace, Name: string(ref.Name)}})
		}
	}
	return all
}

// verdict is what is said of a policy.
func (p *backendTLS) verdict() verdict {
	if p.conflicted {
		return no(gw.PolicyReasonConflicted, "An older BackendTLSPolicy is for the same ports of a Service")
	}
	return p.accepted
}
