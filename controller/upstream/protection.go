package upstream

import (
	"context"

	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/volume/pvcprotection"
	"k8s.io/kubernetes/pkg/controller/volume/pvprotection"
	"k8s.io/kubernetes/pkg/controller/volume/vacprotection"
)

// protection lets a claim that is being deleted go when no pod uses it any more, and a volume when no claim is bound to it: admission
// gave them finalizers.
func (c *Controllers) protection(ctx context.Context) ([]runner, error) {
	core, log := c.shared.Core().V1(), klog.FromContext(ctx)
	claims, err := pvcprotection.NewPVCProtectionController(log, core.PersistentVolumeClaims(), core.Pods(), c.client)
	if err != nil {
		return nil, err
	}
	volumes, err := pvprotection.NewPVProtectionController(log, core.PersistentVolumes(), c.client)
	return []runner{claims, volumes}, err
}

// attributesProtection lets a VolumeAttributesClass go when neither a claim nor a volume names it.
func (c *Controllers) attributesProtection(ctx context.Context) ([]runner, error) {
	core := c.shared.Core().V1()
	classes, err := vacprotection.NewVACProtectionController(klog.FromContext(ctx), c.client, core.PersistentVolumeClaims(), core.PersistentVolumes(),
		c.shared.Storage().V1().VolumeAttributesClasses())
	return []runner{classes}, err
}
