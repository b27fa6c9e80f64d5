package node

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// Rotation of container logs.
const (
	rotatePeriod = 10 * time.Second
	maxLogSize   = 10 << 20
	maxLogFiles  = 3
)

// rotateLogs keeps the logs of running containers from growing without bound.
func (a *Agent) rotateLogs(ctx context.Context) error {
	for kube.Sleep(ctx, rotatePeriod) {
		for _, w := range a.workers() {
			w.mail.post(func() { w.rotate(ctx) })
		}
	}
	return ctx.Err()
}

// rotate gives every running container of the pod whose log has grown too long a new file.
func (w *worker) rotate(ctx context.Context) {
	for name, list := range w.seen.Containers {
		c := list[0]
		path := filepath.Join(w.a.logDir(w.pod), spec.LogPath(name, c.Attempt))
		if info, err := os.Stat(path); c.State != life.Running || err != nil || info.Size() <= maxLogSize {
			continue
		}
		w.async(func() func() {
			if err := w.a.rotateLog(ctx, c.ID, path); err != nil {
				w.log.Warn("a log cannot be rotated", "container", name, "err", err)
			}
			return func() {}
		})
	}
}

// rotateLog moves a log aside and has the runtime open a new one. Of the old ones the newest stay.
func (a *Agent) rotateLog(ctx context.Context, id, path string) error {
	if err := os.Rename(path, path+"."+time.Now().UTC().Format("20060102-150405.000")); err != nil {
		return err
	}
	if _, err := a.runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		return err
	}
	old, err := filepath.Glob(path + ".*")
	if err != nil {
		return err
	}
	slices.SortFunc(old, func(a, b string) int { return cmp.Compare(b, a) })
	for _, extra := range old[min(len(old), maxLogFiles-1):] {
		if err := os.Remove(extra); err != nil {
			return err
		}
	}
	return nil
}

// removeLogs removes a log and what was rotated away from it.
func removeLogs(path string) {
	old, _ := filepath.Glob(path + ".*") // the pattern is valid
	for _, one := range append(old, path) {
		os.Remove(one)
	}
}
