package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// token keeps a node to tokens of its pods, for audiences that these ask for.
func (r *NodeRestriction) token(ctx context.Context, a admission.Attributes, node string) error {
	if a.GetSubresource() != "token" || a.GetOperation() != admission.Create {
		return nil
	}
	request, ok := a.GetObject().(*authenticationv1.TokenRequest)
	if !ok {
		return forbid(a, "unexpected type %T", a.GetObject())
	}
	ref := request.Spec.BoundObjectRef
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return forbid(a, "node requested token not bound to a pod")
	case ref.UID == "":
		return forbid(a, "node requested token with a pod binding without a uid")
	}
	pod, err := r.bound.named(ctx, a.GetNamespace(), ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return admission.NewForbidden(a, err)
	case pod.UID != ref.UID:
		return forbid(a, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != node:
		return forbid(a, "node requested token bound to a pod scheduled on a different node")
	}
	if err := r.audience(ctx, a, request, pod); err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}

// granted says whether roles allow a node what no volume of the pod asks for: a verb of upstream's, on a resource that is named like what it
// asks for, and on the service account.
func (r *NodeRestriction) granted(ctx context.Context, a admission.Attributes, verb, resource, account string) (bool, error) {
	if r.roles == nil {
		return false, nil
	}
	decision, _, err := r.roles.Authorize(ctx, authorizer.AttributesRecord{
		User: a.GetUserInfo(), Verb: verb, APIGroup: a.GetResource().Group, APIVersion: a.GetResource().Version, Resource: resource,
		Namespace: a.GetNamespace(), Name: account, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow, err
}

// audience keeps a node to the audience of a volume of the pod, or one that roles grant it. That of the API server is what a volume means
// that names none.
func (r *NodeRestriction) audience(ctx context.Context, a admission.Attributes, request *authenticationv1.TokenRequest, pod *corev1.Pod) error {
	audience := ""
	switch wanted := request.Spec.Audiences; {
	case len(wanted) > 1:
		return errors.New("node may only request 0 or 1 audiences")
	case len(wanted) == 1 && !slices.Equal(wanted, []string(r.audiences)):
		audience = wanted[0]
	}
	for i := range pod.Spec.Volumes {
		projected := pod.Spec.Volumes[i].Projected
		if projected == nil {
			continue
		}
		for _, source := range projected.Sources {
			if source.ServiceAccountToken != nil && (source.ServiceAccountToken.Audience == audience || audience == "" && slices.Contains(r.audiences, source.ServiceAccountToken.Audience)) {
				return nil
			}
		}
	}
	switch ok, err := r.granted(ctx, a, "request-serviceaccounts-token-audience", audience, a.GetName()); {
	case ok:
		return nil
	case err != nil:
		return fmt.Errorf("error authorizing %s to request tokens for audience %q: %w", a.GetUserInfo().GetName(), audience, err)
	}
	return fmt.Errorf("%s is not authorized to request tokens for audience %q", a.GetUserInfo().GetName(), audience)
}

// named is a pod as it is stored.
func (b *Bound) named(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	obj, err := b.Pods.Get(genericapirequest.WithNamespace(ctx, namespace), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}
