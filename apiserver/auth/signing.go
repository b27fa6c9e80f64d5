package auth

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"

	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/pki/peer"
)

// Signing keeps identities of the cluster from whoever may ask for certificates, and whoever may approve them: no client becomes
// one of system:masters, as upstream's CertificateSubjectRestriction has it, nor one whom agents obey; and no node is certified
// under names and addresses that are not its own.
type Signing struct {
	*admission.Handler
	claims claim.Cluster
	bound  *Bound
}

var _ admission.ValidationInterface = &Signing{}

// NewSigning returns the plugin for a cluster.
func NewSigning(claims claim.Cluster, bound *Bound) *Signing {
	return &Signing{Handler: admission.NewHandler(admission.Create), claims: claims, bound: bound}
}

// Validate is part of admission.ValidationInterface.
func (s *Signing) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != (schema.GroupResource{Group: certificatesv1.GroupName, Resource: "certificatesigningrequests"}) || a.GetSubresource() != "" {
		return nil
	}
	r, ok := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return forbid(a, "expected type CertificateSigningRequest, got: %T", a.GetObject())
	}
	asked, err := requested(r)
	if err != nil {
		return forbid(a, "failed to parse CSR: %v", err)
	}
	switch r.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientSignerName:
		return client(a, asked)
	case certificatesv1.KubeletServingSignerName:
		if err := s.serving(ctx, asked); err != nil {
			return forbid(a, "%v", err)
		}
	}
	return nil
}

// requested is what a request asks for.
func requested(r *certificatesv1.CertificateSigningRequest) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

// client refuses the groups that are not given by certificates on request.
func client(a admission.Attributes, asked *x509.CertificateRequest) error {
	for _, group := range []string{user.SystemPrivilegedGroup, peer.CallerGroup} {
		if slices.Contains(asked.Subject.Organization, group) {
			return forbid(a, "use of %s signer with %s group is not allowed", certificatesv1.KubeAPIServerClientSignerName, group)
		}
	}
	return nil
}

// serving refuses what is not a node's own in the certificate by which its agent is known. The rest of the subject is the signer's to judge.
func (s *Signing) serving(ctx context.Context, asked *x509.CertificateRequest) error {
	node := strings.TrimPrefix(asked.Subject.CommonName, NodeUserPrefix)
	if err := s.claims.Name(node); err != nil {
		return err
	}
	for _, name := range asked.DNSNames {
		if name != node {
			return fmt.Errorf("DNS name %q is not that of node %q", name, node)
		}
	}
	addrs := make([]netip.Addr, 0, len(asked.IPAddresses))
	for _, ip := range asked.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		addrs = append(addrs, addr.Unmap())
	}
	others, err := s.bound.nodes(ctx)
	if err != nil {
		return err
	}
	return s.claims.Addresses(node, addrs, others)
}
