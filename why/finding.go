package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// View is what is true about one Service now. None of it is changed.
type View struct {
	Service   *corev1.Service              // nil: no Service has this name
	Endpoints *corev1.Endpoints            // of the Service's name; nil: there is none
	Slices    []*discoveryv1.EndpointSlice // that name the Service and were not made by a controller, or were for a selector it had
	Pods      []*corev1.Pod                // that the selector matches
	Rivals    []*corev1.Service            // other Services that claim one of its addresses outside of the cluster
	Cluster   Cluster
	Ending    bool // the namespace is being deleted

	// NearMisses may be left out.
	NearMisses NearMisses
}

// Cluster is what belongs to the cluster itself, and no Service may claim. Of a Service for which Outside is empty, the ranges of
// cluster addresses suffice.
type Cluster struct {
	Nodes          []*corev1.Node
	API            []*discoveryv1.EndpointSlice // the endpoints of the API servers
	Pods, Services []netip.Prefix               // the ranges of pods, and of cluster addresses
}

// NearMisses are what a selector that matches no pod nearly matches.
type NearMisses struct {
	Namespaces []string       // others in which it matches pods
	Pairs      map[string]int // how many pods of the namespace have each of its labels, as in app=web
}

// Object names an object.
type Object struct{ Kind, Namespace, Name string }

// Object is what the findings of a view are about: the Service, or else what names it. It is empty when there is nothing.
func (v View) Object() Object {
	switch {
	case v.Service != nil:
		return Object{"Service", v.Service.Namespace, v.Service.Name}
	case v.Endpoints != nil:
		return Object{"Endpoints", v.Endpoints.Namespace, v.Endpoints.Name}
	case len(v.Slices) > 0:
		return Object{"EndpointSlice", v.Slices[0].Namespace, v.Slices[0].Name}
	}
	return Object{}
}

// Finding is one thing that is wrong with a Service.
type Finding struct {
	Code     string // for programs, in CamelCase: it never changes its meaning
	Object   Object // that it is about
	About    string // of several findings of one Code about one Object, which: the name of a port, an address
	Sentence string // for people: what is wrong, without the full stop
	Remedy   string // for people: what to do, likewise

	// Harmless tells that traffic goes where it should, and somebody may be misled all the same.
	Harmless bool
	// After is how long it has to be true before it is worth telling; shorter than that is ordinary.
	After time.Duration
}

// Message is the finding for people, in one line.
func (f Finding) Message() string { return f.Sentence + ". " + f.Remedy }

// How long a finding may be true without being a mistake.
const (
	// written is how long objects that belong together may be written after each other.
	written = 15 * time.Second
	// starting is how long pods may take to start, or to be replaced.
	starting = 30 * time.Second
)

// Findings returns everything that is wrong with a Service, the gravest first. The same view always gives the same findings.
func Findings(v View) []Finding {
	all := v.findings()
	for i := range all {
		all[i].Object = v.Object()
	}
	return all
}

func (v View) findings() []Finding {
	switch {
	case v.Ending:
		return nil
	case v.Service == nil:
		return v.unclaimed()
	case v.Service.DeletionTimestamp != nil, published(v.Service):
		return nil
	case v.Service.Spec.Type == corev1.ServiceTypeExternalName:
		return v.probes()
	}
	var all []Finding
	switch {
	case v.Service.Annotations[api.AnnotationL7] == api.L7Gateway: // its endpoint is the engine
	case api.Selects(v.Service):
		all = append(all, v.selected()...)
	default:
		all = append(all, v.byHand()...)
	}
	all = append(all, v.otherFamilies()...)
	all = append(all, v.clusterAddresses()...)
	all = append(all, v.reserved()...)
	all = append(all, v.contested()...)
	all = append(all, v.engine()...)
	return append(all, v.probes()...)
}

// published reports whether a Service is one that the program keeps for itself; its endpoints are not in the API, or not by the
// rules for others.
func published(svc *corev1.Service) bool {
	name := api.Name(svc)
	return name == api.APIService || name == api.DNSService
}
