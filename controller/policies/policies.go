// Package policies checks the expressions of ValidatingAdmissionPolicies against the types of what they match, and writes what is
// wrong into their statuses. The controller is upstream's; it has nothing to do while there is no policy.
package policies

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	status "k8s.io/kubernetes/pkg/controller/validatingadmissionpolicystatus"
)

// Controller is upstream's. Make it with New, run it with Run.
type Controller struct{ checks *status.Controller }

// New asks shared for the policies. Types come from the API's OpenAPI documents, custom resources included; kinds finds out which
// those of resources are.
func New(client kubernetes.Interface, kinds meta.RESTMapper, shared informers.SharedInformerFactory) (*Controller, error) {
	c, err := status.NewController(shared.Admissionregistration().V1().ValidatingAdmissionPolicies(), client.AdmissionregistrationV1().ValidatingAdmissionPolicies(),
		&validating.TypeChecker{SchemaResolver: &resolver.ClientDiscoveryResolver{Discovery: client.Discovery()}, RestMapper: kinds})
	if err != nil {
		return nil, fmt.Errorf("statuses of admission policies: %w", err)
	}
	return &Controller{c}, nil
}

// Run checks until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	c.checks.Run(ctx, 1)
	return nil
}
