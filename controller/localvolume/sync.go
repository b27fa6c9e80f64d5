package localvolume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api/localvolume"
	"fairlead.dev/fairlead/kube"
)

func keyOf(name string) types.NamespacedName { return types.NamespacedName{Name: name} }

// sync brings one volume, or the directories of one node, to what they are to be.
func (c *Controller) sync(ctx context.Context, k key) (time.Duration, error) {
	if k.node != "" {
		return 0, c.sweep(ctx, k.node)
	}
	volume := kube.Cached[corev1.PersistentVolume](c.volumes, keyOf(k.volume))
	claim := c.claimOf(k.volume)
	switch {
	case volume != nil && ours(volume):
		return 0, errors.Join(c.clean(ctx, k.volume, volume), c.end(ctx, volume))
	case volume != nil:
		return 0, nil
	case claim != nil && wants(claim):
		return 0, c.provide(ctx, claim)
	}
	return 0, c.clean(ctx, k.volume, nil)
}

// claimOf is the claim that a volume is named after, nil when there is none.
func (c *Controller) claimOf(volume string) *corev1.PersistentVolumeClaim {
	found, err := c.claims.GetIndexer().ByIndex(nameIndex, volume)
	if err != nil || len(found) == 0 {
		return nil
	}
	return found[0].(*corev1.PersistentVolumeClaim)
}

// provide makes the directory of a claim, and then its volume.
func (c *Controller) provide(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	class := kube.Cached[storagev1.StorageClass](c.classes, keyOf(ptr.Deref(claim.Spec.StorageClassName, "")))
	if class == nil {
		return c.failed(claim, fmt.Errorf("there is no StorageClass %q", ptr.Deref(claim.Spec.StorageClassName, "")))
	}
	if why := refusal(claim, class); why != "" {
		_ = c.failed(claim, errors.New(why))
		return nil // until the claim changes
	}
	name := claim.Annotations[annotationNode]
	if name == "" {
		return nil // no pod of it has a node yet
	}
	node := c.node(name)
	if why := unfit(node); why != "" {
		return c.elsewhere(ctx, claim, fmt.Errorf("node %s: %s", name, why))
	}
	c.events.Eventf(claim, corev1.EventTypeNormal, "Provisioning", "External provisioner is provisioning volume for claim %q", kube.Key(claim))
	volume := localvolume.Name(claim)
	c.try(volume, name)
	reply, err := c.ask(ctx, node, &localvolume.Request{Volume: volume, Claim: kube.Key(claim).String(), Want: localvolume.Present})
	switch {
	case err != nil:
		return c.failed(claim, err)
	case reply.Problem != "" || len(reply.Directories) != 1:
		return c.elsewhere(ctx, claim, fmt.Errorf("node %s: the directory cannot be made: %s", name, reply.Problem))
	}
	written, err := c.client.CoreV1().PersistentVolumes().Create(ctx, volumeOf(claim, class, node, reply.Directories[0].Path), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return c.failed(claim, err)
	}
	c.events.Eventf(claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", volume)
	return c.clean(ctx, volume, written)
}

// failed tells the claim's people why it has no volume, and returns that.
func (c *Controller) failed(claim *corev1.PersistentVolumeClaim, err error) error {
	c.events.Eventf(claim, corev1.EventTypeWarning, "ProvisioningFailed", "failed to provision volume with StorageClass %q: %v",
		ptr.Deref(claim.Spec.StorageClassName, ""), err)
	return err
}

// elsewhere gives the choice of a node back to the scheduler, as external provisioners do: this one can make no directory.
func (c *Controller) elsewhere(ctx context.Context, claim *corev1.PersistentVolumeClaim, why error) error {
	_ = c.failed(claim, why)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": claim.ResourceVersion, "annotations": map[string]any{annotationNode: nil},
	}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// end does to a volume and its directory what its fate is.
func (c *Controller) end(ctx context.Context, v *corev1.PersistentVolume) error {
	host := onHost(v)
	switch fateOf(v) {
	case stays:
		return nil
	case released:
		c.log.Info("a volume is deleted that is to be retained: its directory stays", "volume", v.Name, "node", host, "directory", v.Spec.Local.Path)
		return c.free(ctx, v)
	}
	if node := c.labelled(host); node != nil {
		reply, err := c.ask(ctx, node, &localvolume.Request{Volume: v.Name, Want: localvolume.Absent})
		if err == nil && reply.Problem != "" {
			err = fmt.Errorf("node %s: %s", node.Name, reply.Problem)
		}
		if err != nil {
			c.events.Eventf(v, corev1.EventTypeWarning, "VolumeFailedDelete", "the directory cannot be removed yet: %v", err)
			return err
		}
	} else {
		c.log.Warn("the node of a volume that is deleted is gone: what it has of it stays there", "volume", v.Name, "node", host, "directory", v.Spec.Local.Path)
	}
	err := c.client.CoreV1().PersistentVolumes().Delete(ctx, v.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(v.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return c.free(ctx, v)
}

// free lets a volume go.
func (c *Controller) free(ctx context.Context, v *corev1.PersistentVolume) error {
	now, err := c.client.CoreV1().PersistentVolumes().Get(ctx, v.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && now.UID != v.UID {
		return nil
	}
	if err != nil {
		return err
	}
	i := slices.Index(now.Finalizers, localvolume.Finalizer)
	if i < 0 {
		return nil
	}
	now.Finalizers = slices.Delete(now.Finalizers, i, i+1)
	if _, err = c.client.CoreV1().PersistentVolumes().Update(ctx, now, metav1.UpdateOptions{}); apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sweep looks for directories on a node that belong to no volume: one for which the volume was not written before somebody ended.
func (c *Controller) sweep(ctx context.Context, name string) error {
	node := c.node(name)
	if unfit(node) != "" {
		return nil // when it is ready, there is another
	}
	reply, err := c.ask(ctx, node, nil)
	if err != nil {
		return err
	}
	for _, d := range reply.Directories {
		if kube.Cached[corev1.PersistentVolume](c.volumes, keyOf(d.Volume)) == nil && localvolume.IsName(d.Volume) {
			c.try(d.Volume, name)
			c.queue.Add(key{volume: d.Volume})
		}
	}
	return nil
}

// clean removes the directories that were made for a volume on other nodes than its own, or on all while there is none. What somebody
// has written into stays.
func (c *Controller) clean(ctx context.Context, name string, v *corev1.PersistentVolume) error {
	on := c.triedOn(name)
	if len(on) == 0 {
		return nil
	}
	if v == nil { // it may have been written a moment ago
		now, err := c.client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err == nil {
			v = now
		}
	}
	var failed []error
	for _, on := range on {
		node := c.node(on)
		if unfit(node) == "" && (v == nil || hostname(node) != onHost(v)) { // else gone, or looked at when it comes back
			failed = append(failed, c.removeUnused(ctx, node, name))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	c.settle(name)
	return nil
}

func (c *Controller) removeUnused(ctx context.Context, node *corev1.Node, volume string) error {
	reply, err := c.ask(ctx, node, &localvolume.Request{Volume: volume, Want: localvolume.NoWaste})
	for _, d := range reply.Directories {
		c.log.Warn("a directory belongs to no volume, and stays because it is not empty: remove it if nobody needs it",
			"node", node.Name, "directory", d.Path, "claim", d.Claim, "problem", reply.Problem)
	}
	return err
}

// try notes that a node may have the directory of a volume that is not written.
func (c *Controller) try(volume, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried[volume] == nil {
		c.tried[volume] = map[string]bool{}
	}
	c.tried[volume][node] = true
}

func (c *Controller) triedOn(volume string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.tried[volume] {
		names = append(names, name)
	}
	return names
}

// settle forgets where a volume was tried.
func (c *Controller) settle(volume string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tried, volume)
}
