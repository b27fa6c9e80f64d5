package upstream

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/informers/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controller/certificates/approver"
	"k8s.io/kubernetes/pkg/controller/certificates/cleaner"
	"k8s.io/kubernetes/pkg/controller/certificates/signer"
	"k8s.io/utils/clock"
)

const (
	// life is how long certificates hold, if their request does not ask for less: upstream's --cluster-signing-duration.
	life = 365 * 24 * time.Hour
	// old is when requests of pods are removed, swept how often that is looked for: as upstream.
	old, swept = 15 * time.Minute, 5 * time.Minute
)

// signing answers CertificateSigningRequests: those of the signers kubernetes.io/kube-apiserver-client, kube-apiserver-client-kubelet
// and kubelet-serving are signed by the cluster's authority once they are approved, those of nodes and of machines that become one are
// approved, and what is old is removed.
func (c *Controllers) signing(ctx context.Context) ([]runner, error) {
	requests := c.shared.Certificates().V1().CertificateSigningRequests()
	all := []runner{
		approver.NewCSRApprovingController(ctx, c.client, requests),
		cleaner.NewCSRCleanerController(c.client.CertificatesV1().CertificateSigningRequests(), requests),
	}
	cert, key := c.ca.Files()
	for _, signing := range []func(context.Context, kubernetes.Interface, v1.CertificateSigningRequestInformer, string, string, time.Duration) (*signer.CSRSigningController, error){
		signer.NewKubeAPIServerClientCSRSigningController, signer.NewKubeletClientCSRSigningController, signer.NewKubeletServingCSRSigningController,
	} {
		s, err := signing(ctx, c.client, requests, cert, key, life)
		if err != nil {
			return nil, fmt.Errorf("signing certificates with %s: %w", cert, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func (c *Controllers) podCertificates(context.Context) ([]runner, error) {
	return []runner{cleaner.NewPCRCleanerController(c.client, c.shared.Certificates().V1().PodCertificateRequests(), clock.RealClock{}, old, swept)}, nil
}
