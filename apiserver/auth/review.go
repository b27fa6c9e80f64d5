package auth

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/authorization"
	convert "k8s.io/kubernetes/pkg/apis/authorization/v1"
	"k8s.io/kubernetes/pkg/registry/authorization/localsubjectaccessreview"
	"k8s.io/kubernetes/pkg/registry/authorization/selfsubjectaccessreview"
	"k8s.io/kubernetes/pkg/registry/authorization/selfsubjectrulesreview"
	"k8s.io/kubernetes/pkg/registry/authorization/subjectaccessreview"
)

// review is the storage of one kind of question: creating it answers it, and nothing is kept.
type review struct {
	singular   string
	namespaced bool
	empty      func() runtime.Object
	answer     func(ctx context.Context, question runtime.Object, options *metav1.CreateOptions) (runtime.Object, error)
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
func (r review) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	if validate != nil {
		if err := validate(ctx, obj); err != nil {
			return nil, err
		}
	}
	return r.answer(ctx, obj, options)
}

// AuthenticationReviews is the storage of authentication.k8s.io/v1: who am I, and whose is a token.
func AuthenticationReviews(tokens authenticator.Request, audiences authenticator.Audiences) map[string]rest.Storage {
	return map[string]rest.Storage{"tokenreviews": tokenReview(tokens, audiences), "selfsubjectreviews": review{
		singular: "selfsubjectreview",
		empty:    func() runtime.Object { return &authenticationv1.SelfSubjectReview{} },
		answer: func(ctx context.Context, question runtime.Object, _ *metav1.CreateOptions) (runtime.Object, error) {
			u, ok := genericapirequest.UserFrom(ctx)
			if !ok {
				return nil, apierrors.NewBadRequest("no user present on request")
			}
			out := question.(*authenticationv1.SelfSubjectReview).DeepCopy()
			out.Status.UserInfo = userInfo(u)
			return out, nil
		},
	}}
}

// AuthorizationReviews is the storage of authorization.k8s.io/v1: may I, may they, what may I. Upstream validates and answers.
func AuthorizationReviews(authz authorizer.Authorizer, rules authorizer.RuleResolver) map[string]rest.Storage {
	s := questions()
	return map[string]rest.Storage{
		"selfsubjectaccessreviews": asked[*authorizationv1.SelfSubjectAccessReview, *authorization.SelfSubjectAccessReview]{
			selfsubjectaccessreview.NewREST(authz, s), func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} },
			convert.Convert_v1_SelfSubjectAccessReview_To_authorization_SelfSubjectAccessReview, convert.Convert_authorization_SelfSubjectAccessReview_To_v1_SelfSubjectAccessReview,
		}.review(),
		"subjectaccessreviews": asked[*authorizationv1.SubjectAccessReview, *authorization.SubjectAccessReview]{
			subjectaccessreview.NewREST(authz, s), func() *authorizationv1.SubjectAccessReview { return &authorizationv1.SubjectAccessReview{} },
			convert.Convert_v1_SubjectAccessReview_To_authorization_SubjectAccessReview, convert.Convert_authorization_SubjectAccessReview_To_v1_SubjectAccessReview,
		}.review(),
		"localsubjectaccessreviews": asked[*authorizationv1.LocalSubjectAccessReview, *authorization.LocalSubjectAccessReview]{
			localsubjectaccessreview.NewREST(authz, s), func() *authorizationv1.LocalSubjectAccessReview { return &authorizationv1.LocalSubjectAccessReview{} },
			convert.Convert_v1_LocalSubjectAccessReview_To_authorization_LocalSubjectAccessReview, convert.Convert_authorization_LocalSubjectAccessReview_To_v1_LocalSubjectAccessReview,
		}.review(),
		"selfsubjectrulesreviews": asked[*authorizationv1.SelfSubjectRulesReview, *authorization.SelfSubjectRulesReview]{
			selfsubjectrulesreview.NewREST(rules), func() *authorizationv1.SelfSubjectRulesReview { return &authorizationv1.SelfSubjectRulesReview{} },
			convert.Convert_v1_SelfSubjectRulesReview_To_authorization_SelfSubjectRulesReview, convert.Convert_authorization_SelfSubjectRulesReview_To_v1_SelfSubjectRulesReview,
		}.review(),
	}
}

// questions are upstream's kinds of questions, which its validation looks up; nothing else is ever in this scheme.
func questions() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		authorization.AddToScheme, authorizationv1.AddToScheme, convert.RegisterConversions, convert.RegisterValidations,
	} {
		utilruntime.Must(add(s))
	}
	return s
}

// asked is a kind of question that upstream answers in its own type I.
type asked[T, I runtime.Object] struct {
	storage answering
	new     func() T
	in      func(T, I, conversion.Scope) error
	out     func(I, T, conversion.Scope) error
}

// answering is what upstream's storages of questions are.
type answering interface {
	rest.Storage
	rest.Scoper
	rest.Creater
	rest.SingularNameProvider
}

func (a asked[T, I]) review() review {
	return review{
		singular: a.storage.GetSingularName(), namespaced: a.storage.NamespaceScoped(),
		empty: func() runtime.Object { return a.new() },
		answer: func(ctx context.Context, question runtime.Object, options *metav1.CreateOptions) (runtime.Object, error) {
			asks := a.storage.New().(I)
			if err := a.in(question.DeepCopyObject().(T), asks, nil); err != nil {
				return nil, err
			}
			answer, err := a.storage.Create(ctx, asks, rest.ValidateAllObjectFunc, options)
			if err != nil {
				return nil, err
			}
			told := a.new()
			return told, a.out(answer.(I), told, nil)
		},
	}
}

// userInfo is u in the form the API shows.
func userInfo(u user.Info) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	for k, v := range u.GetExtra() {
		if info.Extra == nil {
			info.Extra = map[string]authenticationv1.ExtraValue{}
		}
		info.Extra[k] = v
	}
	return info
}
