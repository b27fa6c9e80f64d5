package registry

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/kinds"
)

func bgpPeers() *kind[*kinds.BGPPeer] {
	return &kind[*kinds.BGPPeer]{
		group: kinds.GroupName, plural: "bgppeers", singular: "bgppeer", cluster: true,
		new:     func() *kinds.BGPPeer { return &kinds.BGPPeer{} },
		list:    func() runtime.Object { return &kinds.BGPPeerList{} },
		prepare: func(_ context.Context, p *kinds.BGPPeer) { p.Status, p.Generation = kinds.BGPPeerStatus{}, 1 },
		prepareUpdate: func(_ context.Context, p, old *kinds.BGPPeer) {
			p.Status = old.Status
			if !equality.Semantic.DeepEqual(p.Spec, old.Spec) {
				p.Generation = old.Generation + 1
			}
		},
		validate: func(_ context.Context, p *kinds.BGPPeer) field.ErrorList {
			errs := validateMeta(&p.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
			return append(errs, validatePeer(&p.Spec, field.NewPath("spec"))...)
		},
		prepareStatus: func(_ context.Context, p, old *kinds.BGPPeer) { p.Spec = old.Spec },
		validateStatus: func(_ context.Context, p, _ *kinds.BGPPeer) field.ErrorList {
			return metav1validation.ValidateConditions(p.Status.Conditions, field.NewPath("status", "conditions"))
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Address", "string", "The router's address"),
			column("ASN", "integer", "The router's AS number"),
			column("Local", "integer", "The AS number of the nodes"),
			column("Sessions", "string", "How many nodes have a session, of those that should"),
			column("Established", "string", "Whether all nodes that should have a session have one"),
			age(),
		},
		row: func(p *kinds.BGPPeer) []any {
			sessions := fmt.Sprintf("%d/%d", p.Status.Established, p.Status.Wanted)
			return []any{p.Name, p.Spec.PeerAddress, p.Spec.PeerASN, p.Spec.LocalASN, sessions, condition(p.Status.Conditions, kinds.PeerEstablished), since(p.CreationTimestamp)}
		},
	}
}

// condition is how a condition is shown: True, or the reason why it is not.
func condition(all []metav1.Condition, of string) string {
	i := slices.IndexFunc(all, func(c metav1.Condition) bool { return c.Type == of })
	switch {
	case i < 0:
		return unknown
	case all[i].Status == metav1.ConditionTrue:
		return "True"
	}
	return all[i].Reason
}

// defaultPeer fills in what is not said.
func defaultPeer(p *kinds.BGPPeer) {
	setDefault(&p.Spec.PeerPort, 179)
	setPointer(&p.Spec.HoldTimeSeconds, 90)
	setPointer(&p.Spec.Multihop, 1)
	setPointer(&p.Spec.GracefulRestartSeconds, 120)
	if p.Spec.PasswordSecret != nil {
		setDefault(&p.Spec.PasswordSecret.Namespace, metav1.NamespaceSystem)
	}
}

func validatePeer(s *kinds.BGPPeerSpec, path *field.Path) field.ErrorList {
	errs := validatePeerAddress(s.PeerAddress, path.Child("peerAddress"))
	errs = append(errs, within(path.Child("peerPort"), int64(s.PeerPort), 1, 65535)...)
	errs = append(errs, validateASN(path.Child("peerASN"), s.PeerASN)...)
	errs = append(errs, validateASN(path.Child("localASN"), s.LocalASN)...)
	if s.RouterID != "" {
		if a, err := netip.ParseAddr(s.RouterID); err != nil || !a.Is4() || a.IsUnspecified() {
			errs = append(errs, field.Invalid(path.Child("routerID"), s.RouterID, "must be written as an IPv4 address other than 0.0.0.0"))
		}
	}
	if s.PasswordSecret != nil {
		at := path.Child("passwordSecret")
		errs = append(errs, invalid(at.Child("name"), s.PasswordSecret.Name, apivalidation.NameIsDNSSubdomain(s.PasswordSecret.Name, false))...)
		errs = append(errs, oneOf(at.Child("namespace"), s.PasswordSecret.Namespace, metav1.NamespaceSystem)...)
	}
	errs = append(errs, within(path.Child("holdTimeSeconds"), int64(*s.HoldTimeSeconds), 3, 65535)...)
	errs = append(errs, within(path.Child("multihop"), int64(*s.Multihop), 1, 255)...)
	if *s.Multihop > 1 && s.PeerASN == s.LocalASN {
		errs = append(errs, field.Invalid(path.Child("multihop"), *s.Multihop, "must be 1 with a router of the same AS, which may be any number of hops away"))
	}
	errs = append(errs, within(path.Child("gracefulRestartSeconds"), int64(*s.GracefulRestartSeconds), 0, 4095)...)
	errs = append(errs, metav1validation.ValidateLabelSelector(s.NodeSelector, metav1validation.LabelSelectorValidationOptions{}, path.Child("nodeSelector"))...)
	return append(errs, validatePeerPools(s, path.Child("pools"))...)
}

func validatePeerAddress(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "the router's address")}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "" || a.Is4In6():
		return field.ErrorList{field.Invalid(path, text, "must be a valid IP address")}
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast():
		return field.ErrorList{field.Invalid(path, text, "may not be unspecified, loopback, multicast or link-local")}
	}
	return nil
}

func validateASN(path *field.Path, asn int64) field.ErrorList {
	if asn == 0 {
		return field.ErrorList{field.Required(path, "an AS number")}
	}
	return within(path, asn, 1, math.MaxUint32)
}

func validatePeerPools(s *kinds.BGPPeerSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range s.Pools {
		p, at := &s.Pools[i], path.Index(i)
		errs = append(errs, invalid(at.Child("name"), p.Name, apivalidation.NameIsDNSSubdomain(p.Name, false))...)
		if slices.ContainsFunc(s.Pools[:i], func(o kinds.BGPPeerPool) bool { return o.Name == p.Name }) {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		for j, text := range p.Communities {
			if _, err := kinds.ParseCommunity(text); err != nil {
				errs = append(errs, field.Invalid(at.Child("communities").Index(j), text, err.Error()))
			}
		}
		if p.LocalPreference != nil {
			errs = append(errs, within(at.Child("localPreference"), *p.LocalPreference, 1, math.MaxUint32)...)
			if s.PeerASN != s.LocalASN {
				errs = append(errs, field.Forbidden(at.Child("localPreference"), "a router of another AS is not told"))
			}
		}
	}
	return errs
}

// within refuses a number that is not between two others.
func within(path *field.Path, n, least, most int64) field.ErrorList {
	if n < least || n > most {
		return field.ErrorList{field.Invalid(path, n, validation.InclusiveRangeError(int(least), int(most)))}
	}
	return nil
}
