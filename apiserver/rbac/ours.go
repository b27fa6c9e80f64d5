package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"fairlead.dev/fairlead/api/kinds"
)

const gatewayGroup = "gateway.networking.k8s.io"

// gatewayKinds are the kinds of Gateway API that lie in a namespace.
func gatewayKinds() []string {
	return []string{
		"backendtlspolicies", "gateways", "grpcroutes", "httproutes", "listenersets", "referencegrants", "tcproutes", "tlsroutes", "udproutes",
	}
}

// ownRoles add to upstream's view and edit (and so to admin) what this program serves beyond Kubernetes. Who may edit a namespace
// may edit its Gateways and routes, as its Ingresses; address pools and routers are the cluster's, and an administrator's to write.
func ownRoles() []rbacv1.ClusterRole {
	return []rbacv1.ClusterRole{
		aggregated("view",
			rbacv1.PolicyRule{Verbs: bootstrappolicy.Read, APIGroups: []string{gatewayGroup}, Resources: append(gatewayKinds(), "gatewayclasses")},
			rbacv1.PolicyRule{Verbs: bootstrappolicy.Read, APIGroups: []string{kinds.GroupName}, Resources: []string{"addresspools", "bgppeers"}}),
		aggregated("edit",
			rbacv1.PolicyRule{Verbs: bootstrappolicy.Write, APIGroups: []string{gatewayGroup}, Resources: gatewayKinds()}),
		metricsReader(),
	}
}

// metricsReader is the role that comes with upstream's metrics-server, under its name: whoever may see pods may see what they use.
func metricsReader() rbacv1.ClusterRole {
	role := aggregated("view", rbacv1.PolicyRule{Verbs: bootstrappolicy.Read, APIGroups: []string{metricsv1beta1.GroupName}, Resources: []string{"pods", "nodes"}})
	role.Name = "system:aggregated-metrics-reader"
	for _, to := range []string{"edit", "admin"} {
		role.Labels[rbacv1.GroupName+"/aggregate-to-"+to] = "true"
	}
	return role
}

// aggregated is a role that one of upstream's gathers.
func aggregated(to string, rules ...rbacv1.PolicyRule) rbacv1.ClusterRole {
	return rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "fairlead:aggregate-to-" + to,
			Labels:      map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults", rbacv1.GroupName + "/aggregate-to-" + to: "true"},
			Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
		},
		Rules: rules,
	}
}
