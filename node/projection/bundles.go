package projection

import (
	"context"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/certificates/v1"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/kube"
)

// firstList bounds the wait for the first list of bundles, as in kubelet.
const firstList = 10 * time.Second

// bundles are all trust bundles of the cluster, watched.
type bundles struct {
	informer cache.SharedIndexInformer
	lister   listers.ClusterTrustBundleLister
}

func startBundles(ctx context.Context, client kubernetes.Interface, of *use[*bundles]) *bundles {
	all := informers.NewSharedInformerFactory(client, 0).Certificates().V1().ClusterTrustBundles()
	b := &bundles{all.Informer(), all.Lister()}
	tell := of.tell
	kube.Watch(b.informer, func(_, _ *certificatesv1.ClusterTrustBundle, first bool) {
		if first {
			return
		}
		for _, pod := range of.GetPods() {
			tell(pod.UID)
		}
	})
	of.parts.Go(func() { b.informer.RunWithContext(ctx) })
	return b
}

// TrustAnchors are the certificates of the bundles that a source of a volume selects, each once, in PEM without anything around them. Those
// that are missing are an error, in upstream's words, unless the source is optional.
func (s *Sources) TrustAnchors(ctx context.Context, p *corev1.ClusterTrustBundleProjection) ([]byte, error) {
	b, ok := s.bundles.running()
	if !ok {
		return nil, errIdle
	}
	ctx, cancel := context.WithTimeout(ctx, firstList)
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), b.informer.HasSynced) {
		return nil, fmt.Errorf("ClusterTrustBundle informer has not yet synced")
	}
	optional := p.Optional != nil && *p.Optional
	switch {
	case p.Name != nil:
		return b.named(*p.Name, optional)
	case p.SignerName != nil:
		return b.ofSigner(*p.SignerName, p.LabelSelector, optional)
	}
	return nil, fmt.Errorf("ClusterTrustBundle projection requires either name or signerName to be set")
}

func (b *bundles) named(name string, optional bool) ([]byte, error) {
	found, err := b.lister.Get(name)
	switch {
	case apierrors.IsNotFound(err) && optional:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("while getting ClusterTrustBundle: %w", err)
	}
	return anchors(found), nil
}

// ofSigner are those of a signer with the labels: nil selects nothing, an empty selector everything.
func (b *bundles) ofSigner(signer string, by *metav1.LabelSelector, optional bool) ([]byte, error) {
	selector, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		return nil, fmt.Errorf("while parsing label selector: %w", err)
	}
	all, err := b.lister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("while listing ClusterTrustBundles matching label selector %v: %w", by, err)
	}
	all = slices.DeleteFunc(all, func(t *certificatesv1.ClusterTrustBundle) bool {
		return t.Spec.SignerName != signer || !selector.Matches(labels.Set(t.Labels))
	})
	if len(all) == 0 && !optional {
		return nil, fmt.Errorf("combination of signerName and labelSelector matched zero ClusterTrustBundles")
	}
	return anchors(all...), nil
}

func anchors(of ...*certificatesv1.ClusterTrustBundle) []byte {
	found := map[string]bool{}
	for _, t := range of {
		block, rest := pem.Decode([]byte(t.Spec.TrustBundle))
		for ; block != nil; block, rest = pem.Decode(rest) {
			found[string(block.Bytes)] = true
		}
	}
	var out []byte
	for _, der := range slices.Sorted(maps.Keys(found)) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)})...)
	}
	return out
}
