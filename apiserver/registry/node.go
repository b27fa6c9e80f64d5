package registry

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api"
)

func nodes() *kind[*corev1.Node] {
	info := corev1.NodeSystemInfo{}.SwaggerDoc()
	return &kind[*corev1.Node]{
		plural: "nodes", singular: "node", short: []string{"no"}, cluster: true,
		new:            func() *corev1.Node { return &corev1.Node{} },
		list:           func() runtime.Object { return &corev1.NodeList{} },
		prepareUpdate:  func(_ context.Context, n, old *corev1.Node) { n.Status = old.Status },
		validate:       func(_ context.Context, n *corev1.Node) field.ErrorList { return validateNode(n, &corev1.Node{}) },
		validateUpdate: validateNodeUpdate,
		warn:           nodeWarnings,
		prepareStatus:  func(_ context.Context, n, old *corev1.Node) { n.Spec = old.Spec },
		validateStatus: func(_ context.Context, n, _ *corev1.Node) field.ErrorList { return validateNodeStatus(n) },
		selectable: func(n *corev1.Node, set fields.Set) {
			set["spec.unschedulable"] = boolString(n.Spec.Unschedulable)
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Status", "string", "The status of the node"),
			column("Roles", "string", "The roles of the node"),
			age(),
			column("Version", "string", info["kubeletVersion"]),
			wide("Internal-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
			wide("External-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
			wide("OS-Image", "string", info["osImage"]),
			wide("Kernel-Version", "string", info["kernelVersion"]),
			wide("Container-Runtime", "string", info["containerRuntimeVersion"]),
		},
		row: func(n *corev1.Node) []any {
			system := &n.Status.NodeInfo
			return []any{
				n.Name, nodeStatus(n), nodeRoles(n), since(n.CreationTimestamp), system.KubeletVersion,
				nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
				orUnknown(system.OSImage), orUnknown(system.KernelVersion), orUnknown(system.ContainerRuntimeVersion),
			}
		},
	}
}

// defaultNode takes the capacity of a node for what can be allocated when the node does not say.
func defaultNode(n *corev1.Node) {
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}

// nodeStatus says whether a node is ready, and whether pods may be scheduled on it.
func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	switch {
	case api.NodeReady(n):
		status = "Ready"
	case api.NodeCondition(n.Status.Conditions, corev1.NodeReady) != nil:
		status = "NotReady"
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// nodeRoles are the roles the node's labels give it.
func nodeRoles(n *corev1.Node) string {
	const prefix, old = "node-role.kubernetes.io/", "kubernetes.io/role"
	var roles []string
	for label, value := range n.Labels {
		role, ok := strings.CutPrefix(label, prefix)
		if !ok && label == old {
			role, ok = value, true
		}
		if ok && role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return orNone(strings.Join(roles, ","))
}

func nodeAddress(n *corev1.Node, kind corev1.NodeAddressType) string {
	for _, address := range n.Status.Addresses {
		if address.Type == kind {
			return address.Address
		}
	}
	return none
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func boolString(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
