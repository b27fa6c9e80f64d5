package auth

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// review is the storage of one kind of question: creating it answers it, and nothing is kept.
type review struct {
	singular   string
	namespaced bool
	empty      func() runtime.Object
	answer     func(ctx context.Context, u user.Info, question runtime.Object) (runtime.Object, error)
}

var (
	_ rest.Scoper               = review{}
	_ rest.Creater              = review{}
	_ rest.SingularNameProvider = review{}
)

// New is part of rest.Storage.
func (r review) New() runtime.Object { return r.empty() }

// Destroy is part of rest.Storage.
func (r review) Destroy() {}

// NamespaceScoped is part of rest.Scoper.
func (r review) NamespaceScoped() bool { return r.namespaced }

// GetSingularName is part of rest.SingularNameProvider.
func (r review) GetSingularName() string { return r.singular }

// Create answers the question.
func (r review) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	if validate != nil {
		if err := validate(ctx, obj); err != nil {
			return nil, err
		}
	}
	u, ok := genericapirequest.UserFrom(ctx)
	if !ok {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	return r.answer(ctx, u, obj)
}

// AuthenticationReviews is the storage of authentication.k8s.io/v1: who am I.
func AuthenticationReviews() map[string]rest.Storage {
	return map[string]rest.Storage{"selfsubjectreviews": review{
		singular: "selfsubjectreview",
		empty:    func() runtime.Object { return &authenticationv1.SelfSubjectReview{} },
		answer: func(_ context.Context, u user.Info, question runtime.Object) (runtime.Object, error) {
			out := question.(*authenticationv1.SelfSubjectReview).DeepCopy()
			out.Status.UserInfo = userInfo(u)
			return out, nil
		},
	}}
}

// AuthorizationReviews is the storage of authorization.k8s.io/v1: may I, may they, what may I.
func AuthorizationReviews(authz authorizer.Authorizer, rules authorizer.RuleResolver) map[string]rest.Storage {
	return map[string]rest.Storage{
		"selfsubjectaccessreviews":  selfAccess(authz),
		"subjectaccessreviews":      subjectAccess(authz),
		"localsubjectaccessreviews": localAccess(authz),
		"selfsubjectrulesreviews":   selfRules(rules),
	}
}

func selfAccess(authz authorizer.Authorizer) review {
	return review{
		singular: "selfsubjectaccessreview",
		empty:    func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} },
		answer: func(ctx context.Context, u user.Info, question runtime.Object) (runtime.Object, error) {
			out := question.(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
			a, err := attributes(u, out.Spec.ResourceAttributes, out.Spec.NonResourceAttributes)
			if err != nil {
				return nil, err
			}
			out.Status = decide(ctx, authz, a)
			return out, nil
		},
	}
}

func subjectAccess(authz authorizer.Authorizer) review {
	return review{
		singular: "subjectaccessreview",
		empty:    func() runtime.Object { return &authorizationv1.SubjectAccessReview{} },
		answer: func(ctx context.Context, _ user.Info, question runtime.Object) (runtime.Object, error) {
			out := question.(*authorizationv1.SubjectAccessReview).DeepCopy()
			a, err := attributes(subject(out.Spec), out.Spec.ResourceAttributes, out.Spec.NonResourceAttributes)
			if err != nil {
				return nil, err
			}
			out.Status = decide(ctx, authz, a)
			return out, nil
		},
	}
}

func localAccess(authz authorizer.Authorizer) review {
	return review{
		singular: "localsubjectaccessreview", namespaced: true,
		empty: func() runtime.Object { return &authorizationv1.LocalSubjectAccessReview{} },
		answer: func(ctx context.Context, _ user.Info, question runtime.Object) (runtime.Object, error) {
			out := question.(*authorizationv1.LocalSubjectAccessReview).DeepCopy()
			namespace := genericapirequest.NamespaceValue(ctx)
			if r := out.Spec.ResourceAttributes; r == nil || r.Namespace != namespace {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("spec.resourceAttributes.namespace must match namespace: %s", namespace))
			}
			a, err := attributes(subject(out.Spec), out.Spec.ResourceAttributes, out.Spec.NonResourceAttributes)
			if err != nil {
				return nil, err
			}
			out.Status = decide(ctx, authz, a)
			return out, nil
		},
	}
}

func selfRules(rules authorizer.RuleResolver) review {
	return review{
		singular: "selfsubjectrulesreview",
		empty:    func() runtime.Object { return &authorizationv1.SelfSubjectRulesReview{} },
		answer: func(ctx context.Context, u user.Info, question runtime.Object) (runtime.Object, error) {
			out := question.(*authorizationv1.SelfSubjectRulesReview).DeepCopy()
			if out.Spec.Namespace == "" {
				return nil, apierrors.NewBadRequest("no namespace on request")
			}
			resources, paths, incomplete, err := rules.RulesFor(ctx, u, out.Spec.Namespace)
			if err != nil {
				return nil, fmt.Errorf("rules of %s: %w", u.GetName(), err)
			}
			out.Status = rulesStatus(resources, paths, incomplete)
			return out, nil
		},
	}
}

func rulesStatus(resources []authorizer.ResourceRuleInfo, paths []authorizer.NonResourceRuleInfo, incomplete bool) authorizationv1.SubjectRulesReviewStatus {
	status := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{}, Incomplete: incomplete,
	}
	for _, r := range resources {
		status.ResourceRules = append(status.ResourceRules, authorizationv1.ResourceRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames(),
		})
	}
	for _, p := range paths {
		status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: p.GetVerbs(), NonResourceURLs: p.GetNonResourceURLs()})
	}
	return status
}
