package auth

import (
	"context"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// certificate keeps a node to certificates of its pods, by signers that these name. What may be no more than older than what the node knows
// is a conflict, so that it tries again.
func (r *NodeRestriction) certificate(ctx context.Context, a admission.Attributes, node string) error {
	request, ok := a.GetObject().(*certificatesv1.PodCertificateRequest)
	if a.GetOperation() != admission.Create || a.GetSubresource() != "" || !ok {
		return forbid(a, "node %q may only create PodCertificateRequests", node)
	}
	spec, what := &request.Spec, a.GetNamespace()+"/"+request.Spec.PodName
	if string(spec.NodeName) != node {
		return forbid(a, "PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", spec.NodeName, node)
	}
	self, err := r.bound.node(ctx, node)
	if err != nil {
		return outdated(a, "while retrieving node %q named in the PodCertificateRequest: %w", node, err)
	}
	if self.UID != spec.NodeUID {
		return outdated(a, "PodCertificateRequest for pod %q names node UID %q, inconsistent with the running node (%q)", what, spec.NodeUID, self.UID)
	}
	pod, err := r.bound.named(ctx, a.GetNamespace(), spec.PodName)
	if err != nil {
		return outdated(a, "while retrieving pod %q named in the PodCertificateRequest: %w", what, err)
	}
	switch {
	case pod.UID != spec.PodUID:
		return outdated(a, "PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", what, spec.PodUID, pod.UID)
	case pod.Spec.NodeName != node:
		return forbid(a, "pod %q is not running on node %q named in the PodCertificateRequest", what, node)
	case spec.ServiceAccountName != pod.Spec.ServiceAccountName:
		return forbid(a, "PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", what, spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	account, err := r.bound.account(ctx, a.GetNamespace(), spec.ServiceAccountName)
	if err != nil {
		return outdated(a, "while retrieving service account %q named in the PodCertificateRequest: %w", a.GetNamespace()+"/"+spec.ServiceAccountName, err)
	}
	if account.UID != spec.ServiceAccountUID {
		return outdated(a, "PodCertificateRequest for pod %q names service account UID %q, which differs from the running service account (%q)", what, spec.ServiceAccountUID, account.UID)
	}
	return r.signer(ctx, a, pod, spec)
}

// ownCertificate keeps a node to certificates that name itself, by the signers of nodes' certificates.
func ownCertificate(a admission.Attributes, node string) error {
	if a.GetOperation() != admission.Create || a.GetSubresource() != "" {
		return nil
	}
	request, ok := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return forbid(a, "unexpected type %T", a.GetObject())
	}
	if s := request.Spec.SignerName; s != certificatesv1.KubeletServingSignerName && s != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	asked, err := requested(request)
	if err != nil {
		return forbid(a, "unable to parse csr: %w", err)
	}
	if asked.Subject.CommonName != NodeUserPrefix+node {
		return forbid(a, "can only create a node CSR with CN=%s%s", NodeUserPrefix, node)
	}
	return nil
}

// outdated refuses what may be right a moment later.
func outdated(a admission.Attributes, format string, args ...any) error {
	return apierrors.NewConflict(a.GetResource().GroupResource(), a.GetName(), fmt.Errorf(format, args...))
}

// signer keeps a node to a signer that a volume of the pod names, or that roles grant it. In their resources a slash is written as a colon.
func (r *NodeRestriction) signer(ctx context.Context, a admission.Attributes, pod *corev1.Pod, spec *certificatesv1.PodCertificateRequestSpec) error {
	for i := range pod.Spec.Volumes {
		projected := pod.Spec.Volumes[i].Projected
		if projected == nil {
			continue
		}
		for _, source := range projected.Sources {
			if source.PodCertificate != nil && source.PodCertificate.SignerName == spec.SignerName {
				return nil
			}
		}
	}
	switch ok, err := r.granted(ctx, a, "request-serviceaccounts-podcertificate-signer", strings.ReplaceAll(spec.SignerName, "/", ":"), spec.ServiceAccountName); {
	case ok:
		return nil
	case err != nil:
		return forbid(a, "error authorizing %s to request podcertificaterequests for signer %q: %w", a.GetUserInfo().GetName(), spec.SignerName, err)
	}
	return forbid(a, "pod %q does not mount a podCertificate projected volume for signer %q", a.GetNamespace()+"/"+spec.PodName, spec.SignerName)
}

// account is a service account as it is stored.
func (b *Bound) account(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	obj, err := b.Accounts.Get(genericapirequest.WithNamespace(ctx, namespace), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.ServiceAccount), nil
}
