package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/network/lb"
)

// View is what is true about one Service now. None of it is changed.
type View struct {
	Service   *corev1.Service              // nil: no Service has this name
	Endpoints *corev1.Endpoints            // of the Service's name; nil: there is none
	Slices    []*discoveryv1.EndpointSlice // that name the Service and were not made by a controller, or were for a selector it had
	Pods      []*corev1.Pod                // that the selector matches
	Rivals    []*corev1.Service            // other Services that claim one of its addresses outside of the cluster
	Cluster   []netip.Prefix               // the ranges of cluster addresses
	Reserved  lb.Reserved                  // what no Service may claim

	// Beside tells, of a Service whose selector matches no pod, what it nearly matches. It may be left out.
	Beside Beside

	ending bool // its namespace is being deleted
}

// Beside is what a selector nearly matches.
type Beside struct {
	Namespaces []string       // others in which it matches pods
	Pairs      map[string]int // how many pods of the namespace have each of its labels, as in app=web
}

// Finding is one thing that is wrong with a Service.
type Finding struct {
	Reason  string // for programs, in CamelCase
	About   string // of several findings of one Reason, which: the name of a port, an address
	Message string // for people: what is wrong, with which object, and what to do

	// Harmless tells that traffic goes where it should, and somebody may be misled all the same.
	Harmless bool
	// After is how long it has to be true before it is worth telling; shorter than that is ordinary.
	After time.Duration
}

// How long a finding may be true without being a mistake.
const (
	// written is how long objects that belong together may be written after each other.
	written = 15 * time.Second
	// starting is how long pods may take to start, or to be replaced.
	starting = 30 * time.Second
)

// Findings returns everything that is wrong with a Service, the gravest first. The same view always gives the same findings.
func Findings(v View) []Finding {
	switch {
	case v.ending:
		return nil
	case v.Service == nil:
		return v.unclaimed()
	case v.Service.DeletionTimestamp != nil, published(v.Service):
		return nil
	case v.Service.Spec.Type == corev1.ServiceTypeExternalName:
		return v.probes()
	}
	var all []Finding
	if endpoints.Selects(v.Service) {
		all = append(all, v.selected()...)
	} else {
		all = append(all, v.byHand()...)
	}
	all = append(all, v.otherFamilies()...)
	all = append(all, v.clusterAddresses()...)
	all = append(all, v.reserved()...)
	all = append(all, v.contested()...)
	return append(all, v.probes()...)
}

// published reports whether a Service is one that the program keeps for itself; its endpoints are not in the API, or not by the
// rules for others.
func published(svc *corev1.Service) bool {
	return svc.Namespace == metav1.NamespaceDefault && svc.Name == "kubernetes" ||
		svc.Namespace == metav1.NamespaceSystem && svc.Name == "kube-dns"
}
