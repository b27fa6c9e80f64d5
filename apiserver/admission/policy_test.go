package admission_test

import (
	"errors"
	"strings"
	"testing"

	registration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// matching are the ConfigMaps of namespace n.
func matching() *registration.MatchResources {
	rules := on("", "configmaps", registration.Create, registration.Update)
	return &registration.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "n"}},
		ResourceRules:     []registration.NamedRuleWithOperations{{RuleWithOperations: rules[0]}},
	}
}

func configMap(t *testing.T, client kubernetes.Interface, namespace, name string, data map[string]string) (*corev1.ConfigMap, error) {
	t.Helper()
	return client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
}

// TestValidatingPolicy holds ConfigMaps to a limit that is the parameter of a binding, by a variable and with a message of its own.
func TestValidatingPolicy(t *testing.T) {
	client, _, _ := startHooked(t)
	api := client.AdmissionregistrationV1()
	must[*corev1.ConfigMap](t)(configMap(t, client, "default", "limit", map[string]string{"most": "2"}))
	reason := metav1.StatusReasonForbidden
	policy := &registration.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: registration.ValidatingAdmissionPolicySpec{
		ParamKind: &registration.ParamKind{APIVersion: "v1", Kind: "ConfigMap"}, MatchConstraints: matching(),
		Variables: []registration.Variable{{Name: "keys", Expression: "has(object.data) ? size(object.data) : 0"}},
		Validations: []registration.Validation{{
			Expression: "variables.keys <= int(params.data.most)", Reason: &reason,
			MessageExpression: "'at most ' + params.data.most + ' keys, not ' + string(variables.keys)",
		}},
	}}
	must[*registration.ValidatingAdmissionPolicy](t)(api.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}))
	deny := registration.DenyAction
	must[*registration.ValidatingAdmissionPolicyBinding](t)(api.ValidatingAdmissionPolicyBindings().Create(t.Context(), &registration.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: registration.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "few", ParamRef: &registration.ParamRef{Name: "limit", Namespace: "default", ParameterNotFoundAction: &deny},
			ValidationActions: []registration.ValidationAction{registration.Deny},
		}}, metav1.CreateOptions{}))
	three := map[string]string{"a": "", "b": "", "c": ""}
	eventually(t, func() error {
		_, err := configMap(t, client, "n", "x", three)
		if err == nil {
			_ = client.CoreV1().ConfigMaps("n").Delete(t.Context(), "x", metav1.DeleteOptions{})
			return errors.New("not refused yet")
		}
		if want := `configmaps "x" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: at most 2 keys, not 3`; err.Error() != want {
			return err
		}
		return nil
	})
	must[*corev1.ConfigMap](t)(configMap(t, client, "n", "x", map[string]string{"a": ""}))
	must[*corev1.ConfigMap](t)(configMap(t, client, "default", "x", three))
}

// TestPolicyWords: what is no expression is refused.
func TestPolicyWords(t *testing.T) {
	client, _, _ := startHooked(t)
	_, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(t.Context(), &registration.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: registration.ValidatingAdmissionPolicySpec{
			MatchConstraints: matching(), Validations: []registration.Validation{{Expression: "object.metadata.name =="}},
		}}, metav1.CreateOptions{})
	refused(t, err, "spec.validations[0].expression: Invalid value")
}

// TestMutatingPolicy changes ConfigMaps by an apply configuration, and by a patch.
func TestMutatingPolicy(t *testing.T) {
	client, _, _ := startHooked(t)
	api := client.AdmissionregistrationV1()
	policy := &registration.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "mark"}, Spec: registration.MutatingAdmissionPolicySpec{
		MatchConstraints: matching(), ReinvocationPolicy: registration.NeverReinvocationPolicy,
		Mutations: []registration.Mutation{
			{PatchType: registration.PatchTypeApplyConfiguration, ApplyConfiguration: &registration.ApplyConfiguration{Expression: `Object{metadata: Object.metadata{labels: {"by": "apply"}}}`}},
			{PatchType: registration.PatchTypeJSONPatch, JSONPatch: &registration.JSONPatch{Expression: `[JSONPatch{op: "add", path: "/data", value: {"by": "patch"}}]`}},
		},
	}}
	must[*registration.MutatingAdmissionPolicy](t)(api.MutatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}))
	must[*registration.MutatingAdmissionPolicyBinding](t)(api.MutatingAdmissionPolicyBindings().Create(t.Context(), &registration.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "mark"}, Spec: registration.MutatingAdmissionPolicyBindingSpec{PolicyName: "mark"}}, metav1.CreateOptions{}))
	eventually(t, func() error {
		got, err := dryRun(t, client, "n", "x")
		if err != nil {
			return err
		}
		if got.Labels["by"] != "apply" || got.Data["by"] != "patch" {
			return errors.New("not changed yet: " + strings.Join([]string{got.Labels["by"], got.Data["by"]}, ","))
		}
		return nil
	})
	if other := must[*corev1.ConfigMap](t)(dryRun(t, client, "default", "x")); len(other.Labels) > 0 {
		t.Errorf("labels %v", other.Labels)
	}
}
