package node

import (
	"context"
	"errors"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
	"fairlead.dev/fairlead/node/volume"
)

// boundStorage ends the pod if it has written more than it may. What has no bound is not measured.
func (w *worker) boundStorage(ctx context.Context) {
	if w.terminating() || w.mem.Rejected != nil || w.bounding || api.Finished(w.pod) || !life.StorageLimited(w.pod) {
		return
	}
	w.bounding = true
	pod, seen := w.pod, w.seen
	w.async(func() func() {
		used, err := w.a.stored(ctx, pod, seen)
		return func() {
			w.bounding = false
			if err != nil {
				if ctx.Err() == nil {
					w.log.Warn("what the pod has written cannot be measured", "err", err)
				}
				return
			}
			if why := life.StorageExceeded(pod, used); why != "" && !w.terminating() && w.mem.Rejected == nil {
				w.reject("Evicted", why, why)
			}
		}
	})
}

// stored measures what a pod has written.
func (a *Agent) stored(ctx context.Context, pod *corev1.Pod, seen life.Observed) (life.Stored, error) {
	used := life.Stored{Containers: map[string]int64{}, EmptyDirs: map[string]int64{}}
	var errs []error
	for name, list := range seen.Containers {
		if len(list) == 0 || list[0].State != life.Running {
			continue
		}
		layer, err := a.containerd.Written(ctx, list[0].ID)
		logs, err2 := volume.Size(filepath.Join(a.logDir(pod), name))
		errs = append(errs, err, err2)
		used.Containers[name] = layer + logs
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !life.DiskEmptyDir(v) {
			continue
		}
		var err error
		used.EmptyDirs[v.Name], err = volume.Size(filepath.Join(spec.PodDir(a.podsDir(), pod), "volumes", v.Name))
		errs = append(errs, err)
	}
	return used, errors.Join(errs...)
}
