package loadbalancer

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/kube"
)

// DefaultPool is the name of the pool that the settings of the cluster ask for.
const DefaultPool = "default"

// keptLabel marks the pool that we have made.
const keptLabel = "fairlead.dev/kept-by"

// keepDefault makes the default pool what the settings say. One that a person made under that name is left alone.
func (c *Controller) keepDefault(ctx context.Context) error {
	there := kube.Cached[kinds.AddressPool](c.poolCache, types.NamespacedName{Name: DefaultPool})
	ours := there != nil && there.Labels[keptLabel] != ""
	var err error
	switch {
	case c.cfg.Default == nil && ours:
		if err = c.pools.Delete(ctx, DefaultPool, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(there.UID))}); apierrors.IsNotFound(err) {
			err = nil
		}
	case c.cfg.Default == nil || there != nil && !ours:
	case there == nil:
		p := &kinds.AddressPool{ObjectMeta: metav1.ObjectMeta{Name: DefaultPool, Labels: map[string]string{keptLabel: "lb-pool"}}, Spec: *c.cfg.Default.DeepCopy()}
		if _, err = c.pools.Create(ctx, p, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			err = nil
		}
	default:
		next := there.DeepCopy()
		next.Spec = *c.cfg.Default.DeepCopy()
		next.Spec.AutoAssign = ptr.To(true)
		if len(next.Spec.Announce) == 0 {
			next.Spec.Announce = []kinds.Announcement{kinds.AnnounceL2, kinds.AnnounceBGP}
		}
		if !equality.Semantic.DeepEqual(next.Spec, there.Spec) {
			_, err = c.pools.Update(ctx, next, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("pool %s: %w", DefaultPool, err)
	}
	return nil
}
