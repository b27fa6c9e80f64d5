// Package ingress looks after Ingresses in the control plane: the classes that are ours exist, the status of each Ingress that is
// served has the addresses of the nodes that serve it, and an Event says what cannot be served as it was written.
//
//	Ingress, IngressClass, Service ─> network/l7/ingress.Builder, the same that the nodes serve by ─┬─> status
//	Node ─> plan.Addresses ─────────────────────────────────────────────────────────────────────────┘
//	Secrets that are named ─> ingress.Secrets ─> findings of both ─> plan.Memory ─> Events
//
// It serves nothing itself.
package ingress
