package serviceaccount

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	authenticationtokenjwt "k8s.io/apiserver/pkg/authentication/token/jwt"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	authentication "k8s.io/kubernetes/pkg/apis/authentication"
	convert "k8s.io/kubernetes/pkg/apis/authentication/v1"
	"k8s.io/kubernetes/pkg/apis/authentication/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	upstream "k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/utils/ptr"
)

// requests is serviceaccounts/token: who may create there gets a token of the account.
type requests struct {
	issuer  *Issuer
	objects *Objects
}

var (
	_ rest.NamedCreater                   = requests{}
	_ rest.GroupVersionKindProvider       = requests{}
	_ rest.SubresourceObjectMetaPreserver = requests{}
	_ rest.Storage                        = requests{}
)

// Requests is the storage of serviceaccounts/token.
func (i *Issuer) Requests(objects *Objects) rest.Storage { return requests{i, objects} }

func kind() schema.GroupVersionKind {
	return authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
}

// New is part of rest.Storage.
func (requests) New() runtime.Object { return &authenticationv1.TokenRequest{} }

// Destroy is part of rest.Storage.
func (requests) Destroy() {}

// GroupVersionKind is part of rest.GroupVersionKindProvider.
func (requests) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind { return kind() }

// PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate is part of rest.SubresourceObjectMetaPreserver: the UID that is asked with says
// which account is meant.
func (requests) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

// Create is part of rest.NamedCreater.
func (r requests) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	request := obj.(*authenticationv1.TokenRequest)
	namespace := genericapirequest.NamespaceValue(ctx)
	if err := names(request, namespace, name); err != nil {
		return nil, err
	}
	account, err := lookup{r.objects, ""}.GetServiceAccount(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if request.UID != "" && request.UID != account.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: kind().Group, Resource: kind().Kind}, name,
			fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", request.UID, account.UID))
	}
	now := time.Now() // before the token is made: it is good for a little longer than is said
	r.complete(request, account, now)
	internal := &authentication.TokenRequest{}
	if err := convert.Convert_v1_TokenRequest_To_authentication_TokenRequest(request, internal, nil); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if errs := validation.ValidateTokenRequest(internal); len(errs) > 0 {
		return nil, apierrors.NewInvalid(kind().GroupKind(), "", errs)
	}
	if validate != nil {
		if err := validate(ctx, request.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	to, err := r.boundTo(ctx, request, account)
	if err != nil {
		return nil, err
	}
	return r.sign(ctx, request, account, to, now)
}

// names holds the names in a request against those it was sent to.
func names(request *authenticationv1.TokenRequest, namespace, name string) error {
	var errs field.ErrorList
	if request.Name != "" && request.Name != name {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), request.Name, "must match the service account name if specified"))
	} else if request.Namespace != "" && request.Namespace != namespace {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "namespace"), request.Namespace, "must match the service account namespace if specified"))
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(kind().GroupKind(), name, errs)
	}
	return nil
}

// complete fills in what a request leaves open: an hour, for the API server.
func (r requests) complete(request *authenticationv1.TokenRequest, account *corev1.ServiceAccount, now time.Time) {
	if request.Spec.ExpirationSeconds == nil {
		request.Spec.ExpirationSeconds = ptr.To[int64](3600)
	}
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences = r.issuer.Audiences()
	}
	request.Name, request.Namespace, request.UID = account.Name, account.Namespace, account.UID
	request.CreationTimestamp, request.Status = metav1.NewTime(now), authenticationv1.TokenRequestStatus{}
}

// binding is what a token is good as long as: at most one of them, but a pod comes with its node.
type binding struct {
	pod    *core.Pod
	secret *core.Secret
	node   *core.Node
}

// boundTo finds what a token is to be bound to.
func (r requests) boundTo(ctx context.Context, request *authenticationv1.TokenRequest, account *corev1.ServiceAccount) (binding, error) {
	ref := request.Spec.BoundObjectRef
	if ref == nil {
		return binding{}, nil
	}
	var to binding
	var uid types.UID
	stored := lookup{r.objects, ""}
	switch of := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind); of.GroupKind() {
	case corev1.SchemeGroupVersion.WithKind("Pod").GroupKind():
		pod, err := stored.GetPod(ctx, account.Namespace, ref.Name)
		if err != nil {
			return to, err
		}
		if pod.Spec.ServiceAccountName != account.Name {
			return to, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
		}
		to.pod, uid = &core.Pod{ObjectMeta: pod.ObjectMeta}, pod.UID
		if to.node, err = r.nodeOf(ctx, pod); err != nil {
			return to, err
		}
	case corev1.SchemeGroupVersion.WithKind("Node").GroupKind():
		node, err := stored.GetNode(ctx, ref.Name)
		if err != nil {
			return to, err
		}
		to.node, uid = &core.Node{ObjectMeta: node.ObjectMeta}, node.UID
	case corev1.SchemeGroupVersion.WithKind("Secret").GroupKind():
		secret, err := stored.GetSecret(ctx, account.Namespace, ref.Name)
		if err != nil {
			return to, err
		}
		to.secret, uid = &core.Secret{ObjectMeta: secret.ObjectMeta}, secret.UID
	default:
		return to, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", of))
	}
	if ref.UID != "" && uid != ref.UID {
		return to, apierrors.NewConflict(schema.GroupResource{Resource: ref.Kind}, ref.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	return to, nil
}

// nodeOf is the node that a pod runs on, for the token to say; of one that is not there only the name.
func (r requests) nodeOf(ctx context.Context, pod *corev1.Pod) (*core.Node, error) {
	if pod.Spec.NodeName == "" {
		return nil, nil
	}
	node, err := lookup{r.objects, "0"}.GetNode(ctx, pod.Spec.NodeName)
	if err != nil {
		node, err = lookup{r.objects, ""}.GetNode(ctx, pod.Spec.NodeName)
	}
	switch {
	case apierrors.IsNotFound(err):
		return &core.Node{ObjectMeta: metav1.ObjectMeta{Name: pod.Spec.NodeName}}, nil
	case err != nil:
		return nil, apierrors.NewInternalError(err)
	}
	return &core.Node{ObjectMeta: node.ObjectMeta}, nil
}

// sign makes the token. One that every pod gets is still believed for a year, as long as the pod is there: clients that read the file
// once would fail after an hour (upstream's default); what is said of its end is that the file is written anew until then.
func (r requests) sign(ctx context.Context, request *authenticationv1.TokenRequest, account *corev1.ServiceAccount, to binding, now time.Time) (runtime.Object, error) {
	seconds, warn := *request.Spec.ExpirationSeconds, int64(0)
	own := func(audience string) bool { return slices.Contains(r.issuer.Audiences(), audience) }
	if to.pod != nil && seconds == upstream.WarnOnlyBoundTokenExpirationSeconds && !slices.ContainsFunc(request.Spec.Audiences, func(a string) bool { return !own(a) }) {
		seconds, warn = upstream.ExpirationExtensionSeconds, seconds
	}
	claims, private, err := upstream.Claims(core.ServiceAccount{ObjectMeta: account.ObjectMeta}, to.pod, to.secret, to.node, nil, nil, seconds, warn, request.Spec.Audiences, nil)
	if err != nil {
		return nil, err
	}
	token, err := r.issuer.bound.GenerateToken(ctx, claims, private)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed to generate token: %w", err))
	}
	audit.AddAuditAnnotation(ctx, serviceaccount.IssuedCredentialIDAuditAnnotationKey, authenticationtokenjwt.CredentialIDForJTI(claims.ID))
	answer := request.DeepCopy()
	answer.Status = authenticationv1.TokenRequestStatus{
		Token: token, ExpirationTimestamp: metav1.NewTime(now.Add(time.Duration(*request.Spec.ExpirationSeconds) * time.Second)),
	}
	return answer, nil
}
