//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package nodes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/nodes/lifecycle"
)

// dnsRecheck is how often the object is compared with what it should be, though no node changed.
const dnsRecheck = time.Minute

// syncNameServers brings the Endpoints of the DNS Service in line with the nodes. The controller that
// mirrors Endpoints makes the slices.
func (c *Controller) syncNameServers(ctx context.Context, _ string) (time.Duration, error) {
	var nodes []*corev1.Node
	for _, obj := range c.nodes.GetIndexer().List() {
		nodes = append(nodes, obj.(*corev1.Node))
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	want := lifecycle.NameServers(nodes)
	endpoints := c.client.CoreV1().Endpoints(api.DNSService.Namespace)
	have, err := endpoints.Get(ctx, api.DNSService.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = endpoints.Create(ctx, &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: api.DNSService.Name}, Subsets: want}, metav1.CreateOptions{})
	case err == nil && !apiequality.Semantic.DeepEqual(have.Subsets, want):
		have.Subsets = want
		_, err = endpoints.Update(ctx, have, metav1.UpdateOptions{})
	}
	if err != nil {
		return 0, fmt.Errorf("endpoints %s: %w", api.DNSService, err)
	}
	return dnsRecheck, nil
}
