package registry

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/certificates"
	convert "k8s.io/kubernetes/pkg/apis/certificates/v1"
	signing "k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/certificates/clustertrustbundle"
	"k8s.io/kubernetes/pkg/registry/certificates/podcertificaterequest"
	"k8s.io/utils/clock"
)

func (b *builder) certificates() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	row, rules := signingRequests()
	requests := build(b, row)
	put(resources, requests)
	put(resources, build(b, trustBundles()))
	put(resources, build(b, b.podCertificates()))
	if b.err == nil {
		resources["certificatesigningrequests/approval"] = requests.part(rules.part(row, signing.ApprovalStrategy))
	}
	return resources
}

type signingRules = foreign[*certificatesv1.CertificateSigningRequest, *certificates.CertificateSigningRequest]

func signingRequests() (*kind[*certificatesv1.CertificateSigningRequest], signingRules) {
	rules := signingRules{
		strategy: signing.Strategy, status: signing.StatusStrategy,
		in: convert.Convert_v1_CertificateSigningRequest_To_certificates_CertificateSigningRequest, out: convert.Convert_certificates_CertificateSigningRequest_To_v1_CertificateSigningRequest,
	}
	return adopt(rules, kind[*certificatesv1.CertificateSigningRequest]{
		group: certificatesv1.GroupName, plural: "certificatesigningrequests", singular: "certificatesigningrequest", short: []string{"csr"},
		list: func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		selectable: func(r *certificatesv1.CertificateSigningRequest, set fields.Set) {
			set["spec.signerName"] = r.Spec.SignerName
		},
	}), rules
}

func trustBundles() *kind[*certificatesv1.ClusterTrustBundle] {
	return adopt(foreign[*certificatesv1.ClusterTrustBundle, *certificates.ClusterTrustBundle]{
		strategy: clustertrustbundle.Strategy,
		in:       convert.Convert_v1_ClusterTrustBundle_To_certificates_ClusterTrustBundle, out: convert.Convert_certificates_ClusterTrustBundle_To_v1_ClusterTrustBundle,
	}, kind[*certificatesv1.ClusterTrustBundle]{
		group: certificatesv1.GroupName, plural: "clustertrustbundles", singular: "clustertrustbundle",
		list:       func() runtime.Object { return &certificatesv1.ClusterTrustBundleList{} },
		selectable: func(b *certificatesv1.ClusterTrustBundle, set fields.Set) { set["spec.signerName"] = b.Spec.SignerName },
	})
}

// podCertificates asks, as upstream does, whether whoever writes a status may sign for the request's signer.
func (b *builder) podCertificates() *kind[*certificatesv1.PodCertificateRequest] {
	strategy := podcertificaterequest.NewStrategy()
	return adopt(foreign[*certificatesv1.PodCertificateRequest, *certificates.PodCertificateRequest]{
		strategy: strategy, status: podcertificaterequest.NewStatusStrategy(strategy, b.config.Authorizer, clock.RealClock{}),
		in: convert.Convert_v1_PodCertificateRequest_To_certificates_PodCertificateRequest, out: convert.Convert_certificates_PodCertificateRequest_To_v1_PodCertificateRequest,
	}, kind[*certificatesv1.PodCertificateRequest]{
		group: certificatesv1.GroupName, plural: "podcertificaterequests", singular: "podcertificaterequest",
		list: func() runtime.Object { return &certificatesv1.PodCertificateRequestList{} },
		selectable: func(r *certificatesv1.PodCertificateRequest, set fields.Set) {
			set["spec.signerName"], set["spec.podName"], set["spec.nodeName"] = r.Spec.SignerName, r.Spec.PodName, string(r.Spec.NodeName)
		},
	})
}
