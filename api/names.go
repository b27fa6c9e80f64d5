// Package api says what objects of the Kubernetes API mean: when a pod is finished or ready, which addresses a node has, which
// protocol an empty field stands for, which slices a person wrote. Each such fact is said here once, for whoever asks. The
// package only computes, and changes nothing that it is given.
package api

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Annotations of our own, which a person writes on a Service.
const (
	// AnnotationBalance chooses how new connections are spread: BalanceInTurn, BalanceByClient, or at random, which is the
	// default and what kube-proxy does (rule P20).
	AnnotationBalance = "fairlead.dev/balance"
	// BalanceInTurn gives each endpoint the next connection.
	BalanceInTurn = "round-robin"
	// BalanceByClient lets the client's address decide, in the same way on every node that may choose among the same endpoints.
	BalanceByClient = "client-hash"

	// AnnotationL7 sends connections to the Service's TCP ports through the L7 engine of the node that they come to (rule P110).
	AnnotationL7 = "fairlead.dev/l7"
	// L7HTTP has the engine balance requests among the Service's endpoints, one by one.
	L7HTTP = "http"
	// L7Gateway marks a Service that stands for a Gateway: it has no endpoints of its own but the engine.
	L7Gateway = "gateway"

	// AnnotationProbe, on a Service without selector, is a core/v1 Probe in JSON or YAML.
	AnnotationProbe = "fairlead.dev/probe"
	// AnnotationRequestHeaders and AnnotationResponseHeaders, on an Ingress, are headers to set, a line each as in "Name: value", of
	// requests before backends get them and of answers before clients do. One without a value is taken out.
	AnnotationRequestHeaders  = "fairlead.dev/request-headers"
	AnnotationResponseHeaders = "fairlead.dev/response-headers"

	// AnnotationKeep, beside it, is how many addresses, or what percentage of them, stay ready even if they fail.
	AnnotationKeep = "fairlead.dev/probe-keep"

	// AnnotationAddresses, on a Service of type LoadBalancer, are the addresses it asks for, separated by commas.
	AnnotationAddresses = "fairlead.dev/addresses"
	// AnnotationShare, on Services of type LoadBalancer, lets those with the same value have one address together.
	AnnotationShare = "fairlead.dev/share"
)

// Annotations of our own on EndpointSlices, which a person writes, or the controller of Gateways.
const (
	// AnnotationWeight is what share of new connections the endpoints of a slice get together, from 0 to 1000000, beside those of the
	// Service's other slices; a slice without has 1 if any has one. It is the kernel's to follow, see Weight.
	AnnotationWeight = "fairlead.dev/weight"
	// AnnotationWeightGroup has several slices of a Service share one weight: those with the same value.
	AnnotationWeightGroup = "fairlead.dev/weight-group"
)

// LoadBalancerClass is that of Services whose addresses come from pools of ours, as do those of Services without a class.
const LoadBalancerClass = "fairlead.dev/lb"

// Conditions of ours on Services of type LoadBalancer.
const (
	// ConditionAssigned says that the addresses in the status are from our pools, or why there are none.
	ConditionAssigned = "fairlead.dev/AddressAssigned"
	// ConditionAnnounced says which nodes tell the network where the addresses are, or why nobody does.
	ConditionAnnounced = "fairlead.dev/AddressAnnounced"
)

// AnnotationUnhealthy, which a controller of ours writes on Endpoints and EndpointSlices, lists the endpoints that are not ready
// because of the probe, separated by commas, each with its ports: 192.0.2.8:3306 or 192.0.2.8:80+443.
const AnnotationUnhealthy = "fairlead.dev/unhealthy"

// Labels and annotations of Kubernetes that k8s.io/api has no name for.
const (
	// LabelServiceProxyName, on a Service or slice, names another proxy that serves it (rule P1).
	LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"
	// LabelControlPlane marks a node on which the control plane runs, and ordinary pods need not.
	LabelControlPlane = "node-role.kubernetes.io/control-plane"
	// LabelEndpointsManagedBy says who keeps an Endpoints object (rule E28; KEP-4974).
	LabelEndpointsManagedBy = "endpoints.kubernetes.io/managed-by"
	// AnnotationLeader marks an Endpoints object that old leader election uses as a lock; it has nothing to do with a Service
	// (rules E34 and E100).
	AnnotationLeader = "control-plane.alpha.kubernetes.io/leader"
)

// Who keeps endpoints, by the managed-by label.
const (
	// EndpointsManager keeps the Endpoints of Services that have a selector.
	EndpointsManager = "endpoint-controller"
	// SlicesManager keeps the slices that follow a selector (rule E50).
	SlicesManager = "endpointslice-controller.k8s.io"
	// MirrorManager keeps the slices that mirror Endpoints written by hand (rule E101).
	MirrorManager = "endpointslicemirroring-controller.k8s.io"
)

// Services that every cluster has.
var (
	// APIService leads to the API servers.
	APIService = types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}
	// DNSService leads to the cluster's DNS servers.
	DNSService = types.NamespacedName{Namespace: metav1.NamespaceSystem, Name: "kube-dns"}
)

// Name is an object's name within the cluster.
func Name(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// CompareNames orders names by namespace, then by name.
func CompareNames(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Age decides between objects that claim the same thing: the elder has it, as a user expects who does not know of the other.
type Age struct {
	Created time.Time
	Name    types.NamespacedName
}

// AgeOf is an object's age.
func AgeOf(obj metav1.Object) Age { return Age{obj.GetCreationTimestamp().Time, Name(obj)} }

// Compare orders the elder first, and by name those of the same second, which is all that the API tells apart.
func (a Age) Compare(b Age) int {
	return cmp.Or(a.Created.Compare(b.Created), CompareNames(a.Name, b.Name))
}
