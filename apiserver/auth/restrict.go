package auth

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// NodeRestriction is the admission check that keeps a node to its own objects where only the object tells
// whose it is: it may register only itself, hold only its own lease, and write the status of or delete only
// pods bound to it (upstream's NodeRestriction plugin).
type NodeRestriction struct{ *admission.Handler }

// NewNodeRestriction returns the check; it keeps no state.
func NewNodeRestriction() *NodeRestriction {
	return &NodeRestriction{admission.NewHandler(admission.Create, admission.Update, admission.Delete)}
}

var _ admission.ValidationInterface = &NodeRestriction{}

// ValidateInitialization is part of admission.InitializationValidator.
func (*NodeRestriction) ValidateInitialization() error { return nil }

// Validate is part of admission.ValidationInterface.
func (*NodeRestriction) Validate(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, isNode := NodeName(a.GetUserInfo())
	if !isNode {
		return nil
	}
	switch a.GetResource().GroupResource() {
	case corev1.Resource("pods"):
		return ownPod(a, node)
	case corev1.Resource("nodes"), schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}:
		return named(a, node)
	}
	return nil
}

func ownPod(a admission.Attributes, node string) error {
	pod, ok := a.GetOldObject().(*corev1.Pod)
	if !ok {
		return admission.NewForbidden(a, fmt.Errorf("node %q may not %s pods it cannot name", node, verb(a)))
	}
	if pod.Spec.NodeName != node {
		return admission.NewForbidden(a, fmt.Errorf("node %q can only %s pods with spec.nodeName set to itself", node, verb(a)))
	}
	return nil
}

func named(a admission.Attributes, node string) error {
	name := a.GetName()
	if object, err := meta.Accessor(a.GetObject()); err == nil && object.GetName() != "" {
		name = object.GetName()
	}
	if name != node {
		return admission.NewForbidden(a, fmt.Errorf("node %q is not allowed to %s %s %q", node, verb(a), a.GetResource().Resource, name))
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
