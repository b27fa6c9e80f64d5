package projection

import (
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/kubelet/podcertificate"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/kube"
)

// settled is when kubelet's manager, which hears of an answer at the same time as we do, has taken it in. Whoever is told too early
// looks again a minute later.
const settled = 500 * time.Millisecond

// certificates are those of the pods of a node.
type certificates struct {
	ctx     context.Context
	manager *podcertificate.IssuingManager
}

func startCertificates(ctx context.Context, client kubernetes.Interface, node string, of *use[*certificates]) *certificates {
	only := func(field string) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(field, node).String()
		}))
	}
	requests, self := only("spec.nodeName").Certificates().V1().PodCertificateRequests(), only(metav1.ObjectNameField).Core().V1().Nodes()
	c := &certificates{ctx, podcertificate.NewIssuingManager(client, of, of.events, requests, self, types.NodeName(node), clock.RealClock{})}
	tell := of.tell
	kube.Watch(requests.Informer(), func(_, now *certificatesv1.PodCertificateRequest, _ bool) {
		if now != nil && len(now.Status.Conditions) > 0 {
			time.AfterFunc(settled, func() { tell(now.Spec.PodUID) })
		}
	})
	of.parts.Go(func() { requests.Informer().RunWithContext(ctx) })
	of.parts.Go(func() { self.Informer().RunWithContext(ctx) })
	of.parts.Go(func() { c.manager.Run(ctx) })
	return c
}

// Certificate is the private key and the certificates, in PEM, that a pod has for a source of a volume. There is none as long as no
// signer has answered, and none when it was refused: the error says so in upstream's words.
func (s *Sources) Certificate(ctx context.Context, pod *corev1.Pod, volume string, source int) (key, chain []byte, err error) {
	c, ok := s.certificates.running()
	if !ok {
		return nil, nil, errIdle
	}
	return c.manager.GetPodCertificateCredentialBundle(ctx, pod.Namespace, pod.Name, string(pod.UID), volume, source)
}
