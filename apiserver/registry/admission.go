package registry

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	convert "k8s.io/kubernetes/pkg/apis/admissionregistration/v1"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingwebhookconfiguration"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/resolver"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingadmissionpolicybinding"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/validatingwebhookconfiguration"
)

// admissionregistration is the group of webhooks and policies. Who writes a policy or a binding must be allowed to read the
// parameters that it names, so the rows of these ask who may do what, and which resource a kind is.
func (b *builder) admissionregistration() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, validatingWebhooks()))
	put(resources, build(b, mutatingWebhooks()))
	may, kinds := b.config.Authorizer, resolver.ResourceResolverFunc(b.config.ResourceOf)
	rules := validatingadmissionpolicy.NewStrategy(may, kinds)
	validating := build(b, validatingPolicies(rules, validatingadmissionpolicy.NewStatusStrategy(rules)))
	put(resources, validating)
	put(resources, build(b, validatingBindings(validatingadmissionpolicybinding.NewStrategy(may, validatingGetter{validating}, kinds))))
	mutating := build(b, mutatingPolicies(mutatingadmissionpolicy.NewStrategy(may, kinds)))
	put(resources, mutating)
	put(resources, build(b, mutatingBindings(mutatingadmissionpolicybinding.NewStrategy(may, mutatingGetter{mutating}, kinds))))
	return resources
}

// validatingGetter and mutatingGetter read the policy that a binding names.

type validatingGetter struct {
	store[*admissionv1.ValidatingAdmissionPolicy]
}

// GetValidatingAdmissionPolicy is part of validatingadmissionpolicybinding.PolicyGetter.
func (g validatingGetter) GetValidatingAdmissionPolicy(ctx context.Context, name string) (*admissionregistration.ValidatingAdmissionPolicy, error) {
	obj, err := g.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	policy := &admissionregistration.ValidatingAdmissionPolicy{}
	return policy, convert.Convert_v1_ValidatingAdmissionPolicy_To_admissionregistration_ValidatingAdmissionPolicy(obj.(*admissionv1.ValidatingAdmissionPolicy), policy, nil)
}

type mutatingGetter struct {
	store[*admissionv1.MutatingAdmissionPolicy]
}

// GetMutatingAdmissionPolicy is part of mutatingadmissionpolicybinding.PolicyGetter.
func (g mutatingGetter) GetMutatingAdmissionPolicy(ctx context.Context, name string) (*admissionregistration.MutatingAdmissionPolicy, error) {
	obj, err := g.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	policy := &admissionregistration.MutatingAdmissionPolicy{}
	return policy, convert.Convert_v1_MutatingAdmissionPolicy_To_admissionregistration_MutatingAdmissionPolicy(obj.(*admissionv1.MutatingAdmissionPolicy), policy, nil)
}

func validatingWebhooks() *kind[*admissionv1.ValidatingWebhookConfiguration] {
	return adopt(foreign[*admissionv1.ValidatingWebhookConfiguration, *admissionregistration.ValidatingWebhookConfiguration]{
		strategy: validatingwebhookconfiguration.Strategy,
		in:       convert.Convert_v1_ValidatingWebhookConfiguration_To_admissionregistration_ValidatingWebhookConfiguration, out: convert.Convert_admissionregistration_ValidatingWebhookConfiguration_To_v1_ValidatingWebhookConfiguration,
	}, kind[*admissionv1.ValidatingWebhookConfiguration]{
		group: admissionv1.GroupName, plural: "validatingwebhookconfigurations", singular: "validatingwebhookconfiguration", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.ValidatingWebhookConfigurationList{} },
	})
}

func mutatingWebhooks() *kind[*admissionv1.MutatingWebhookConfiguration] {
	return adopt(foreign[*admissionv1.MutatingWebhookConfiguration, *admissionregistration.MutatingWebhookConfiguration]{
		strategy: mutatingwebhookconfiguration.Strategy,
		in:       convert.Convert_v1_MutatingWebhookConfiguration_To_admissionregistration_MutatingWebhookConfiguration, out: convert.Convert_admissionregistration_MutatingWebhookConfiguration_To_v1_MutatingWebhookConfiguration,
	}, kind[*admissionv1.MutatingWebhookConfiguration]{
		group: admissionv1.GroupName, plural: "mutatingwebhookconfigurations", singular: "mutatingwebhookconfiguration", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.MutatingWebhookConfigurationList{} },
	})
}

func validatingPolicies(strategy foreignStrategy, status rest.RESTUpdateStrategy) *kind[*admissionv1.ValidatingAdmissionPolicy] {
	return adopt(foreign[*admissionv1.ValidatingAdmissionPolicy, *admissionregistration.ValidatingAdmissionPolicy]{
		strategy: strategy, status: status,
		in: convert.Convert_v1_ValidatingAdmissionPolicy_To_admissionregistration_ValidatingAdmissionPolicy, out: convert.Convert_admissionregistration_ValidatingAdmissionPolicy_To_v1_ValidatingAdmissionPolicy,
	}, kind[*admissionv1.ValidatingAdmissionPolicy]{
		group: admissionv1.GroupName, plural: "validatingadmissionpolicies", singular: "validatingadmissionpolicy", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyList{} },
	})
}

func validatingBindings(strategy foreignStrategy) *kind[*admissionv1.ValidatingAdmissionPolicyBinding] {
	return adopt(foreign[*admissionv1.ValidatingAdmissionPolicyBinding, *admissionregistration.ValidatingAdmissionPolicyBinding]{
		strategy: strategy,
		in:       convert.Convert_v1_ValidatingAdmissionPolicyBinding_To_admissionregistration_ValidatingAdmissionPolicyBinding, out: convert.Convert_admissionregistration_ValidatingAdmissionPolicyBinding_To_v1_ValidatingAdmissionPolicyBinding,
	}, kind[*admissionv1.ValidatingAdmissionPolicyBinding]{
		group: admissionv1.GroupName, plural: "validatingadmissionpolicybindings", singular: "validatingadmissionpolicybinding", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBindingList{} },
	})
}

func mutatingPolicies(strategy foreignStrategy) *kind[*admissionv1.MutatingAdmissionPolicy] {
	return adopt(foreign[*admissionv1.MutatingAdmissionPolicy, *admissionregistration.MutatingAdmissionPolicy]{
		strategy: strategy,
		in:       convert.Convert_v1_MutatingAdmissionPolicy_To_admissionregistration_MutatingAdmissionPolicy, out: convert.Convert_admissionregistration_MutatingAdmissionPolicy_To_v1_MutatingAdmissionPolicy,
	}, kind[*admissionv1.MutatingAdmissionPolicy]{
		group: admissionv1.GroupName, plural: "mutatingadmissionpolicies", singular: "mutatingadmissionpolicy", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyList{} },
	})
}

func mutatingBindings(strategy foreignStrategy) *kind[*admissionv1.MutatingAdmissionPolicyBinding] {
	return adopt(foreign[*admissionv1.MutatingAdmissionPolicyBinding, *admissionregistration.MutatingAdmissionPolicyBinding]{
		strategy: strategy,
		in:       convert.Convert_v1_MutatingAdmissionPolicyBinding_To_admissionregistration_MutatingAdmissionPolicyBinding, out: convert.Convert_admissionregistration_MutatingAdmissionPolicyBinding_To_v1_MutatingAdmissionPolicyBinding,
	}, kind[*admissionv1.MutatingAdmissionPolicyBinding]{
		group: admissionv1.GroupName, plural: "mutatingadmissionpolicybindings", singular: "mutatingadmissionpolicybinding", categories: []string{"api-extensions"},
		list: func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBindingList{} },
	})
}
