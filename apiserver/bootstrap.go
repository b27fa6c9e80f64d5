//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/apiserver/registry"
)

// keeper writes the objects every cluster has, and writes them again when somebody changes or deletes them.
type keeper struct {
	cfg    Config
	id     *identity
	client kubernetes.Interface
}

// bootstrap makes every object once. It retries until ctx ends: the storage of a kind may still be filling
// its cache when the server begins to serve. It returns no error, which would end the process on the spot.
func (k keeper) bootstrap(ctx context.Context, log *slog.Logger) {
	for attempt := 0; ; attempt++ {
		err := k.keep(ctx)
		if err == nil {
			return
		}
		if attempt > 0 && attempt%100 == 0 {
			log.Warn("bootstrap objects cannot be written yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keep makes the cluster's own objects what they must be. It changes nothing that is right already.
func (k keeper) keep(ctx context.Context) error {
	spaces, inSpaces := errgroup.WithContext(ctx)
	for _, name := range namespaces() {
		spaces.Go(func() error { return k.keepNamespace(inSpaces, name) })
	}
	if err := spaces.Wait(); err != nil {
		return err
	}
	at := k.id.addrPort(k.cfg.Advertise)
	objects, ctx := errgroup.WithContext(ctx)
	for _, class := range registry.SystemPriorityClasses() {
		objects.Go(func() error { return k.keepPriorityClass(ctx, class) })
	}
	objects.Go(func() error { return k.keepGivenRanges(ctx) })
	objects.Go(func() error { return k.keepTrustBundle(ctx, trustBundle(k.cfg.CA.CertPEM())) })
	objects.Go(func() error { return k.giveStorageClass(ctx) })
	objects.Go(func() error { return k.keepService(ctx, apiService(firstAddr(k.cfg.ServiceCIDRs[0]), k.id.port)) })
	objects.Go(func() error { return k.keepService(ctx, dnsService(k.cfg.ClusterDNS)) })
	objects.Go(func() error { return k.keepEndpoints(ctx, apiEndpoints(at)) })
	objects.Go(func() error { return k.keepSlice(ctx, apiSlice(at)) })
	return objects.Wait()
}

func (k keeper) keepNamespace(ctx context.Context, name string) error {
	_, err := k.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = k.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	}
	return ignoreRace(err, "namespace", name)
}

func (k keeper) keepPriorityClass(ctx context.Context, class *schedulingv1.PriorityClass) error {
	_, err := k.client.SchedulingV1().PriorityClasses().Get(ctx, class.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = k.client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{})
	}
	return ignoreRace(err, "priority class", class.Name)
}

func (k keeper) keepService(ctx context.Context, want *corev1.Service) error {
	services := k.client.CoreV1().Services(want.Namespace)
	have, err := services.Get(ctx, want.Name, metav1.GetOptions{})
	if err == nil && have.Spec.ClusterIP != want.Spec.ClusterIPs[0] {
		// The address of a Service cannot be changed; the range has, so the Service is made anew.
		if err = services.Delete(ctx, want.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))}); err == nil {
			_, err = services.Create(ctx, want, metav1.CreateOptions{})
		}
	} else if apierrors.IsNotFound(err) {
		_, err = services.Create(ctx, want, metav1.CreateOptions{})
	} else if err == nil && !sameService(have, want) {
		have = have.DeepCopy()
		have.Labels = merged(have.Labels, want.Labels)
		have.Spec.Type, have.Spec.Ports, have.Spec.Selector = want.Spec.Type, want.Spec.Ports, nil
		have.Spec.ClusterIPs, have.Spec.IPFamilies, have.Spec.IPFamilyPolicy = want.Spec.ClusterIPs, nil, want.Spec.IPFamilyPolicy
		_, err = services.Update(ctx, have, metav1.UpdateOptions{})
	}
	return ignoreRace(err, "service", want.Name)
}

func (k keeper) keepEndpoints(ctx context.Context, want *corev1.Endpoints) error {
	endpoints := k.client.CoreV1().Endpoints(want.Namespace)
	have, err := endpoints.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = endpoints.Create(ctx, want, metav1.CreateOptions{})
	} else if err == nil && !(contains(have.Labels, want.Labels) && equality.Semantic.DeepEqual(have.Subsets, want.Subsets)) {
		have = have.DeepCopy()
		have.Labels, have.Subsets = merged(have.Labels, want.Labels), want.Subsets
		_, err = endpoints.Update(ctx, have, metav1.UpdateOptions{})
	}
	return ignoreRace(err, "endpoints", want.Name)
}

func (k keeper) keepSlice(ctx context.Context, want *discoveryv1.EndpointSlice) error {
	client := k.client.DiscoveryV1().EndpointSlices(want.Namespace)
	have, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.Create(ctx, want, metav1.CreateOptions{})
	case err == nil && have.AddressType != want.AddressType:
		if err = client.Delete(ctx, want.Name, metav1.DeleteOptions{}); err == nil {
			_, err = client.Create(ctx, want, metav1.CreateOptions{})
		}
	case err == nil && !sameSlice(have, want):
		have = have.DeepCopy()
		have.Labels, have.Endpoints, have.Ports = merged(have.Labels, want.Labels), want.Endpoints, want.Ports
		_, err = client.Update(ctx, have, metav1.UpdateOptions{})
	}
	return ignoreRace(err, "endpoint slice", want.Name)
}

// sameService says whether have serves what want asks for; what others added to it does not matter.
func sameService(have, want *corev1.Service) bool {
	return contains(have.Labels, want.Labels) && len(have.Spec.Selector) == 0 && have.Spec.Type == want.Spec.Type &&
		slices.Equal(have.Spec.ClusterIPs, want.Spec.ClusterIPs) && equality.Semantic.DeepEqual(have.Spec.Ports, want.Spec.Ports)
}

func sameSlice(have, want *discoveryv1.EndpointSlice) bool {
	return contains(have.Labels, want.Labels) && equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) &&
		equality.Semantic.DeepEqual(have.Ports, want.Ports)
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func merged(have, want map[string]string) map[string]string {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, want)
	return all
}

// ignoreRace drops the errors of losing to another writer: the next round sees what it wrote.
func ignoreRace(err error, kind, name string) error {
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
}
