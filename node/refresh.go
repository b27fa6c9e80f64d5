package node

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/volume"
)

// refreshVolumes is how tries to bring volumes up to date are told from others.
const refreshVolumes life.Kind = "refresh-volumes"

// volumesChanged has the worker of a pod look whose volumes are not up to date any more.
func (a *Agent) volumesChanged(uid types.UID) { a.post(uid, func(*worker) {}) }

// syncVolumes keeps the files of volumes up to date that are made from API objects, while there is something that could read them. It
// returns the time until the next token has to be renewed.
func (w *worker) syncVolumes(ctx context.Context) time.Duration {
	running := slices.ContainsFunc(w.seen.Sandboxes, func(s life.Sandbox) bool { return s.Ready })
	switch {
	case w.mem.Starting || w.refresh:
		return resyncPeriod
	case w.gone || api.Finished(w.pod):
		w.a.volumes.End(w.uid)
		return resyncPeriod
	case !running:
		w.a.volumes.Forget(w.uid)
		return resyncPeriod
	}
	w.a.volumes.Adopt(w.pod)
	due := w.a.volumes.Due(ctx, w.uid)
	if left := time.Until(due); due.IsZero() {
		return resyncPeriod
	} else if left > 0 {
		return left
	}
	w.refresh = true
	pod := w.current()
	w.attempt(ctx, life.Action{Kind: refreshVolumes}, func() error { return w.a.volumes.Refresh(ctx, pod) }, func(err error) {
		w.refresh = false
		var mount *volume.MountError
		if errors.As(err, &mount) {
			w.event(corev1.EventTypeWarning, "FailedMount", mount.Error())
		}
	})
	return resyncPeriod
}
