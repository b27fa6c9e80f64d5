// Package certificates answers CertificateSigningRequests as Kubernetes does: those of the signers kubernetes.io/kube-apiserver-client,
// kube-apiserver-client-kubelet and kubelet-serving are signed by the cluster's authority once they are approved, those of nodes
// and of machines that become one are approved, and what is old is removed. The controllers are upstream's.
package certificates

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	certinformers "k8s.io/client-go/informers/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controller/certificates/approver"
	"k8s.io/kubernetes/pkg/controller/certificates/cleaner"
	"k8s.io/kubernetes/pkg/controller/certificates/signer"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/pki"
)

const (
	// life is how long certificates hold, if their request does not ask for less: upstream's --cluster-signing-duration.
	life = 365 * 24 * time.Hour
	// old is when requests of pods are removed, swept how often that is looked for: as upstream.
	old, swept = 15 * time.Minute, 5 * time.Minute
)

// Controllers are upstream's. Make them with New, run them with Run.
type Controllers struct{ all []runner }

type runner interface {
	Run(ctx context.Context, workers int)
}

// New asks shared for what the controllers watch. It fails when the authority cannot be read.
func New(ctx context.Context, client kubernetes.Interface, shared informers.SharedInformerFactory, ca *pki.Authority) (*Controllers, error) {
	requests := shared.Certificates().V1().CertificateSigningRequests()
	c := &Controllers{all: []runner{
		approver.NewCSRApprovingController(ctx, client, requests),
		cleaner.NewCSRCleanerController(client.CertificatesV1().CertificateSigningRequests(), requests),
		cleaner.NewPCRCleanerController(client, shared.Certificates().V1().PodCertificateRequests(), clock.RealClock{}, old, swept),
	}}
	cert, key := ca.Files()
	for _, signing := range []func(context.Context, kubernetes.Interface, certinformers.CertificateSigningRequestInformer, string, string, time.Duration) (*signer.CSRSigningController, error){
		signer.NewKubeAPIServerClientCSRSigningController, signer.NewKubeletClientCSRSigningController, signer.NewKubeletServingCSRSigningController,
	} {
		s, err := signing(ctx, client, requests, cert, key, life)
		if err != nil {
			return nil, fmt.Errorf("signing certificates with %s: %w", cert, err)
		}
		c.all = append(c.all, s)
	}
	return c, nil
}

// Run works until ctx ends.
func (c *Controllers) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, r := range c.all {
		group.Go(func() error {
			r.Run(ctx, 1)
			return nil
		})
	}
	return group.Wait()
}
