package auth

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/util/flowcontrol"

	"fairlead.dev/fairlead/api/claim"
)

// eventsPerSecond and eventsAtOnce bound what a node may tell: a full node that starts all of its pods stays below.
const eventsPerSecond, eventsAtOnce = 50, 1000

// NodeRestriction is the admission check that keeps a node to its own objects where only the object tells
// whose it is: it may register only itself, hold only its own lease, and write the status of or delete only
// pods bound to it (upstream's NodeRestriction plugin). Beyond upstream it checks the addresses that a node claims,
// for itself and for its pods: others send packets there.
type NodeRestriction struct {
	*admission.Handler
	claims    claim.Cluster
	bound     *Bound
	audiences authenticator.Audiences // of the API server
	roles     authorizer.Authorizer

	mu   sync.Mutex // guards pace
	pace map[string]flowcontrol.RateLimiter
}

// NewNodeRestriction returns the check for a cluster. Roles may allow a node to ask for tokens and certificates that no volume asks for.
func NewNodeRestriction(claims claim.Cluster, audiences authenticator.Audiences, roles authorizer.Authorizer, bound *Bound) *NodeRestriction {
	return &NodeRestriction{
		Handler: admission.NewHandler(admission.Create, admission.Update, admission.Delete),
		claims:  claims, bound: bound, audiences: audiences, roles: roles, pace: map[string]flowcontrol.RateLimiter{},
	}
}

var _ admission.ValidationInterface = &NodeRestriction{}

// ValidateInitialization is part of admission.InitializationValidator.
func (*NodeRestriction) ValidateInitialization() error { return nil }

// Validate is part of admission.ValidationInterface.
func (r *NodeRestriction) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	name, isNode := NodeName(a.GetUserInfo())
	if !isNode {
		return nil
	}
	switch a.GetResource().GroupResource() {
	case corev1.Resource("pods"):
		return r.pod(ctx, a, name)
	case corev1.Resource("serviceaccounts"):
		return r.token(ctx, a, name)
	case corev1.Resource("nodes"):
		if err := named(a, name); err != nil {
			return err
		}
		return r.node(ctx, a, name)
	case schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}:
		return named(a, name)
	case schema.GroupResource{Group: certificates, Resource: "certificatesigningrequests"}:
		return ownCertificate(a, name)
	case schema.GroupResource{Group: certificates, Resource: "podcertificaterequests"}:
		return r.certificate(ctx, a, name)
	case corev1.Resource("events"), schema.GroupResource{Group: "events.k8s.io", Resource: "events"}:
		return r.event(a, name)
	}
	return nil
}

// pod keeps a node to pods that are bound to it, and these to what their node has to say of them.
func (r *NodeRestriction) pod(ctx context.Context, a admission.Attributes, name string) error {
	old, ok := a.GetOldObject().(*corev1.Pod)
	if !ok {
		return forbid(a, "node %q may not %s pods it cannot name", name, verb(a))
	}
	if old.Spec.NodeName != name {
		return forbid(a, "node %q can only %s pods with spec.nodeName set to itself", name, verb(a))
	}
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok {
		return nil
	}
	if !equality.Semantic.DeepEqual(pod.Labels, old.Labels) {
		return forbid(a, "node %q cannot update labels through pod status", name)
	}
	if equality.Semantic.DeepEqual(pod.Status.PodIPs, old.Status.PodIPs) {
		return nil
	}
	self, err := r.bound.node(ctx, name)
	if err != nil {
		return err
	}
	if err := claim.PodAddresses(pod, self); err != nil {
		return forbid(a, "node %q: %v", name, err)
	}
	return nil
}

// node keeps a node from what decides about itself: the labels and taints that steer pods to it or away, whose it is, its
// ranges, and addresses of others.
func (r *NodeRestriction) node(ctx context.Context, a admission.Attributes, name string) error {
	node, ok := a.GetObject().(*corev1.Node)
	if !ok {
		return forbid(a, "node %q may not %s nodes", name, verb(a))
	}
	old, ok := a.GetOldObject().(*corev1.Node)
	if !ok {
		old = &corev1.Node{}
		old.Spec.Taints = node.Spec.Taints // it may register with taints
	}
	if !equality.Semantic.DeepEqual(node.Spec.Taints, old.Spec.Taints) {
		return forbid(a, "node %q is not allowed to modify taints", name)
	}
	if !equality.Semantic.DeepEqual(node.OwnerReferences, old.OwnerReferences) {
		return forbid(a, "node %q is not allowed to modify ownerReferences", name)
	}
	if node.Spec.PodCIDR != old.Spec.PodCIDR || !slices.Equal(node.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		return forbid(a, "node %q is not allowed to choose its podCIDRs", name)
	}
	//lint:ignore SA1019 what is refused
	if node.Spec.ConfigSource != nil {
		return forbid(a, "node %q is not allowed to set configSource", name)
	}
	if labels := forbiddenLabels(node.Labels, old.Labels); len(labels) > 0 {
		return forbid(a, "node %q is not allowed to modify labels: %s", name, labels)
	}
	if equality.Semantic.DeepEqual(node.Status.Addresses, old.Status.Addresses) {
		return nil
	}
	others, err := r.bound.nodes(ctx)
	if err != nil {
		return err
	}
	if err := r.claims.Status(name, node.Status.Addresses, others); err != nil {
		return forbid(a, "node %q: %v", name, err)
	}
	return nil
}

// event bounds how much a node tells.
func (r *NodeRestriction) event(a admission.Attributes, name string) error {
	r.mu.Lock()
	pace := r.pace[name]
	if pace == nil {
		pace = flowcontrol.NewTokenBucketRateLimiter(eventsPerSecond, eventsAtOnce)
		r.pace[name] = pace
	}
	r.mu.Unlock()
	if a.GetOperation() != admission.Delete && !pace.TryAccept() {
		return apierrors.NewTooManyRequests(fmt.Sprintf("node %q tells too many events", name), 1)
	}
	return nil
}

func forbid(a admission.Attributes, format string, args ...any) error {
	return admission.NewForbidden(a, fmt.Errorf(format, args...))
}

func named(a admission.Attributes, node string) error {
	name := a.GetName()
	if object, err := meta.Accessor(a.GetObject()); err == nil && object.GetName() != "" {
		name = object.GetName()
	}
	if name != node {
		return forbid(a, "node %q is not allowed to %s %s %q", node, verb(a), a.GetResource().Resource, name)
	}
	return nil
}

func verb(a admission.Attributes) string {
	switch a.GetOperation() {
	case admission.Create:
		return "create"
	case admission.Delete:
		return "delete"
	}
	return "update"
}
