package plan

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

const (
	// endpointsLimit is the largest number of addresses in one Endpoints object (rule E30).
	endpointsLimit = 1000

	// overCapacityTruncated is the value of the over-capacity annotation (rule E30).
	overCapacityTruncated = "truncated"
)

// Endpoints decides how the Endpoints object of a Service should read, given the pods that the
// Service selects, and returns it when it must be written: created when existing is nil, updated
// otherwise. It returns nil when existing says so already (rule E31). It mutates nothing.
//
// The object has the Service's name and exists even when no pod matches (rule E20); it holds the
// primary address family only (rule E21).
func Endpoints(svc *corev1.Service, pods []*corev1.Pod, existing *corev1.Endpoints) *corev1.Endpoints {
	offers := make([]corev1.EndpointSubset, 0, len(pods))
	for _, pod := range pods {
		if offer, ok := offerOf(svc, pod); ok {
			offers = append(offers, offer)
		}
	}
	subsets, truncated := truncate(repack(offers), endpointsLimit)
	labels := endpointsLabels(svc)
	if existing != nil && maps.Equal(existing.Labels, labels) && capacityNoted(existing, truncated) &&
		slices.EqualFunc(existing.Subsets, subsets, sameSubset) {
		return nil
	}
	want := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: svc.Namespace}}
	cause := svc.CreationTimestamp.Time
	if existing != nil {
		want.ObjectMeta = metadataOf(&existing.ObjectMeta)
		cause = earliestChange(existing.Subsets, subsets, pods)
	}
	want.Labels = labels
	want.Annotations = withTrigger(want.Annotations, cause)
	if truncated {
		if want.Annotations == nil {
			want.Annotations = map[string]string{}
		}
		want.Annotations[corev1.EndpointsOverCapacity] = overCapacityTruncated
	} else {
		delete(want.Annotations, corev1.EndpointsOverCapacity)
	}
	want.Subsets = subsets
	return want
}

// endpointsLabels returns the labels of a Service's Endpoints object, exactly (rule E28).
func endpointsLabels(svc *corev1.Service) map[string]string {
	labels := make(map[string]string, len(svc.Labels)+2)
	maps.Copy(labels, svc.Labels)
	delete(labels, corev1.IsHeadlessService)
	if api.Headless(svc) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[api.LabelEndpointsManagedBy] = api.EndpointsManager
	return labels
}

// capacityNoted reports whether the over-capacity annotation is as it should be.
func capacityNoted(ep *corev1.Endpoints, truncated bool) bool {
	note, noted := ep.Annotations[corev1.EndpointsOverCapacity]
	return noted == truncated && (!truncated || note == overCapacityTruncated)
}

// offerOf returns what one pod contributes: a subset with one address and the ports that the pod
// answers on. A pod does not contribute while it terminates, unless unready addresses are
// published (rule E5), nor when none of the Service's ports is found on it (rule E10). A Service
// without ports lists bare addresses (rule E24).
func offerOf(svc *corev1.Service, pod *corev1.Pod) (offer corev1.EndpointSubset, ok bool) {
	publish := svc.Spec.PublishNotReadyAddresses
	if api.Finished(pod) || pod.DeletionTimestamp != nil && !publish {
		return offer, false
	}
	ips := api.PodAddresses(pod, api.Families(svc)[0])
	if len(ips) == 0 {
		return offer, false
	}
	for i := range svc.Spec.Ports {
		port := &svc.Spec.Ports[i]
		if number, ok := api.TargetPort(pod, port); ok {
			offer.Ports = append(offer.Ports, corev1.EndpointPort{
				Name: port.Name, Port: number, Protocol: api.Protocol(port.Protocol), AppProtocol: port.AppProtocol,
			})
		}
	}
	if len(offer.Ports) == 0 && len(svc.Spec.Ports) > 0 {
		return offer, false
	}
	address := corev1.EndpointAddress{IP: ips[0], Hostname: hostname(pod, svc), TargetRef: ptr.To(podRef(pod))}
	if pod.Spec.NodeName != "" {
		address.NodeName = &pod.Spec.NodeName
	}
	if ready, _ := api.PodReadiness(pod); ready || publish {
		offer.Addresses = []corev1.EndpointAddress{address}
	} else {
		offer.NotReadyAddresses = []corev1.EndpointAddress{address}
	}
	return offer, true
}

// earliestChange returns the earliest last change of readiness among the pods whose address is new
// or moved between the ready and the not ready; zero when there is none (rule E29).
func earliestChange(before, after []corev1.EndpointSubset, pods []*corev1.Pod) time.Time {
	since := make(map[types.UID]time.Time, len(pods))
	for _, pod := range pods {
		_, since[pod.UID] = api.PodReadiness(pod)
	}
	was, is := readyPlaces(before), readyPlaces(after)
	var earliest time.Time
	for at, ready := range is {
		if old, known := was[at]; known && old == ready {
			continue
		}
		if t := since[at.uid]; !t.IsZero() && (earliest.IsZero() || t.Before(earliest)) {
			earliest = t
		}
	}
	return earliest
}

// readyPlaces flattens subsets; an address that is not ready for one port counts as not ready.
func readyPlaces(subsets []corev1.EndpointSubset) map[place]bool {
	places := map[place]bool{}
	for i := range subsets {
		for j := range subsets[i].Addresses {
			at := placeOf(&subsets[i].Addresses[j])
			if _, known := places[at]; !known {
				places[at] = true
			}
		}
		for j := range subsets[i].NotReadyAddresses {
			places[placeOf(&subsets[i].NotReadyAddresses[j])] = false
		}
	}
	return places
}

// SameContent reports whether two versions of an Endpoints object agree in everything that Endpoints decides.
func SameContent(a, b *corev1.Endpoints) bool {
	return maps.Equal(a.Labels, b.Labels) && slices.EqualFunc(a.Subsets, b.Subsets, sameSubset)
}
