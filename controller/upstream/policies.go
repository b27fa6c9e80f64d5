package upstream

import (
	"context"

	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	status "k8s.io/kubernetes/pkg/controller/validatingadmissionpolicystatus"
)

// policies checks the expressions of ValidatingAdmissionPolicies against the types of what they match, and writes what is wrong into
// their statuses. Types come from the API's OpenAPI documents, custom resources included.
func (c *Controllers) policies(context.Context) ([]runner, error) {
	s, err := status.NewController(c.shared.Admissionregistration().V1().ValidatingAdmissionPolicies(), c.client.AdmissionregistrationV1().ValidatingAdmissionPolicies(),
		&validating.TypeChecker{SchemaResolver: &resolver.ClientDiscoveryResolver{Discovery: c.client.Discovery()}, RestMapper: c.kinds()})
	return []runner{s}, err
}
