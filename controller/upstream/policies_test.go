package upstream_test

import (
	"strings"
	"testing"

	registration "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestTypesInPolicies: an expression that compares a number with a word is told of, and one that does not is not.
func TestTypesInPolicies(t *testing.T) {
	api := start(t).AdmissionregistrationV1().ValidatingAdmissionPolicies()
	for name, expression := range map[string]string{"wrong": "object.spec.replicas > '1'", "right": "object.spec.replicas > 1"} {
		policy := &registration.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: registration.ValidatingAdmissionPolicySpec{
			MatchConstraints: &registration.MatchResources{ResourceRules: []registration.NamedRuleWithOperations{{RuleWithOperations: registration.RuleWithOperations{
				Operations: []registration.OperationType{registration.Create},
				Rule:       registration.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
			}}}},
			Validations: []registration.Validation{{Expression: expression}},
		}}
		if _, err := api.Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, func() string {
			got, err := api.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			if got.Status.ObservedGeneration == 0 || got.Status.TypeChecking == nil {
				return name + " is not checked"
			}
			found := got.Status.TypeChecking.ExpressionWarnings
			if (name == "wrong") != (len(found) == 1 && found[0].FieldRef == "spec.validations[0].expression" && strings.Contains(found[0].Warning, "no matching overload")) {
				t.Errorf("%s: %+v", name, found)
			}
			return ""
		})
	}
}
