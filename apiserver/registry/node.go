package registry

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func nodes() *kind[*corev1.Node] {
	info := corev1.NodeSystemInfo{}.SwaggerDoc()
	return &kind[*corev1.Node]{
		plural: "nodes", singular: "node", short: []string{"no"}, cluster: true,
		new:            func() *corev1.Node { return &corev1.Node{} },
		list:           func() runtime.Object { return &corev1.NodeList{} },
		prepareUpdate:  func(_ context.Context, n, old *corev1.Node) { n.Status = old.Status },
		validate:       validateNode,
		validateUpdate: validateNodeUpdate,
		prepareStatus:  func(_ context.Context, n, old *corev1.Node) { n.Spec = old.Spec },
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

func validateNode(_ context.Context, n *corev1.Node) field.ErrorList {
	errs := validateMeta(&n.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	path := field.NewPath("spec")
	type key struct {
		name   string
		effect corev1.TaintEffect
	}
	seen := map[key]bool{}
	for i, taint := range n.Spec.Taints {
		at := path.Child("taints").Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(taint.Key, at.Child("key"))...)
		errs = append(errs, invalid(at.Child("value"), taint.Value, content.IsLabelValue(taint.Value))...)
		errs = append(errs, requiredOneOf(at.Child("effect"), taint.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		if k := (key{taint.Key, taint.Effect}); seen[k] {
			errs = append(errs, field.Duplicate(at, taint).WithOrigin("taints must be unique by key and effect pair"))
		} else {
			seen[k] = true
		}
	}
	if cidrs := n.Spec.PodCIDRs; len(cidrs) > 2 || len(cidrs) == 2 && strings.Contains(cidrs[0], ":") == strings.Contains(cidrs[1], ":") {
		errs = append(errs, field.Invalid(path.Child("podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family"))
	}
	for i, cidr := range n.Spec.PodCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			errs = append(errs, field.Invalid(path.Child("podCIDRs").Index(i), cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
		}
	}
	if n.Spec.PodCIDR != "" && (len(n.Spec.PodCIDRs) == 0 || n.Spec.PodCIDRs[0] != n.Spec.PodCIDR) {
		errs = append(errs, field.Invalid(path.Child("podCIDRs"), n.Spec.PodCIDRs, "the first value must match `podCIDR`"))
	}
	return errs
}

// validateNodeUpdate fixes what pods already run with: a node's pod addresses and provider, once set. A range of the
// other family may be added, as a cluster becomes dual-stack; upstream wants the node registered anew for that.
func validateNodeUpdate(ctx context.Context, n, old *corev1.Node) field.ErrorList {
	errs := validateNode(ctx, n)
	path := field.NewPath("spec")
	if had := old.Spec.PodCIDRs; !slices.Equal(n.Spec.PodCIDRs[:min(len(had), len(n.Spec.PodCIDRs))], had) {
		errs = append(errs, field.Forbidden(path.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(path.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	if !reflect.DeepEqual(n.Spec.DoNotUseExternalID, old.Spec.DoNotUseExternalID) {
		errs = append(errs, field.Forbidden(path.Child("externalID"), "node updates may not change it"))
	}
	return errs
}

// nodeStatus says whether a node is ready, and whether pods may be scheduled on it.
func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, condition := range n.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if status = "NotReady"; condition.Status == corev1.ConditionTrue {
			status = "Ready"
		}
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
