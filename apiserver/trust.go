package apiserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// servingSigner is whose certificate the API server shows, in the name of a ClusterTrustBundle.
const servingSigner = "kubernetes.io/kube-apiserver-serving"

// trustBundle is the cluster's authority as a ClusterTrustBundle, by which pods know the API server: as upstream's controller has it.
func trustBundle(authority []byte) *certificatesv1.ClusterTrustBundle {
	hash := sha256.Sum256(authority)
	return &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s:%x", strings.ReplaceAll(servingSigner, "/", ":"), hash[:12])},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: servingSigner, TrustBundle: string(authority)},
	}
}

func (k keeper) keepTrustBundle(ctx context.Context, want *certificatesv1.ClusterTrustBundle) error {
	bundles := k.client.CertificatesV1().ClusterTrustBundles()
	have, err := bundles.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = bundles.Create(ctx, want, metav1.CreateOptions{})
	} else if err == nil && have.Spec.TrustBundle != want.Spec.TrustBundle {
		have = have.DeepCopy()
		have.Spec.TrustBundle = want.Spec.TrustBundle
		_, err = bundles.Update(ctx, have, metav1.UpdateOptions{})
	}
	return ignoreRace(err, "cluster trust bundle", want.Name)
}
