package auth

import (
	"context"
	"net/http"
	"net/url"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// tokenReview says whose a token is, for those who are shown one and may ask.
func tokenReview(tokens authenticator.Request, audiences authenticator.Audiences) review {
	return review{
		singular: "tokenreview",
		empty:    func() runtime.Object { return &authenticationv1.TokenReview{} },
		answer: func(ctx context.Context, question runtime.Object, _ *metav1.CreateOptions) (runtime.Object, error) {
			out := question.(*authenticationv1.TokenReview).DeepCopy()
			if out.Spec.Token == "" {
				return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
			}
			wanted := audiences
			if len(out.Spec.Audiences) > 0 {
				wanted = out.Spec.Audiences
			}
			shown := (&http.Request{URL: &url.URL{}, Header: http.Header{"Authorization": {"Bearer " + out.Spec.Token}}}).WithContext(authenticator.WithAudiences(ctx, wanted))
			response, ok, err := tokens.AuthenticateRequest(shown)
			out.Status = reviewed(response, ok, err, audiences.Intersect(wanted))
			return out, nil
		},
	}
}

// reviewed is what was found out about a token. Users whom others know are so for this server: what of it is asked for.
func reviewed(response *authenticator.Response, ok bool, err error, own authenticator.Audiences) authenticationv1.TokenReviewStatus {
	if err != nil {
		return authenticationv1.TokenReviewStatus{Error: err.Error()}
	}
	if !ok {
		return authenticationv1.TokenReviewStatus{}
	}
	found := response.Audiences
	if len(found) == 0 {
		found = own
	}
	if len(found) == 0 {
		return authenticationv1.TokenReviewStatus{Error: "the token is for other audiences"}
	}
	return authenticationv1.TokenReviewStatus{Authenticated: true, User: userInfo(response.User), Audiences: found}
}
