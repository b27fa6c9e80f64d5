package node

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// Rotation of container logs, with upstream's figures.
const (
	rotatePeriod = 10 * time.Second
	maxLogSize   = 10 << 20
	maxLogFiles  = 5 // with the one that is being written
)

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

// rotateLog moves a log aside and has the runtime open a new one. Of the old ones the newest stay: the last as it is, for who still
// reads it, those before it compressed, as kubelet does.
func (a *Agent) rotateLog(ctx context.Context, id, path string) error {
	if err := tidyLogs(path); err != nil {
		return err
	}
	aside := path + "." + time.Now().UTC().Format("20060102-150405.000000000")
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if _, err := a.runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		return errors.Join(err, os.Rename(aside, path)) // the runtime writes on to that file: it stays the log
	}
	return nil
}

// tidyLogs removes the oldest of the logs that were moved aside, so that there is room for one more, and compresses the others.
func tidyLogs(path string) error {
	old, err := filepath.Glob(path + ".*")
	if err != nil {
		return err
	}
	var errs []error
	old = slices.DeleteFunc(old, func(one string) bool {
		if strings.HasSuffix(one, compressing) { // cut short by the end of an agent
			errs = append(errs, os.Remove(one))
			return true
		}
		return false
	})
	slices.Sort(old)
	for len(old) > maxLogFiles-2 {
		errs, old = append(errs, os.Remove(old[0])), old[1:]
	}
	for _, one := range old {
		if !strings.HasSuffix(one, ".gz") {
			errs = append(errs, compress(one))
		}
	}
	return errors.Join(errs...)
}

// compressing ends the name of a file that is being made.
const compressing = ".tmp"

// compress replaces a file by the same one compressed.
func compress(path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path+compressing, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(to)
	_, err = io.Copy(packed, from)
	if err = errors.Join(err, packed.Close(), to.Close()); err == nil {
		err = os.Rename(path+compressing, path+".gz")
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+compressing))
	}
	return os.Remove(path)
}

// removeLogs removes a log and what was rotated away from it.
func removeLogs(path string) {
	old, _ := filepath.Glob(path + ".*") // the pattern is valid
	for _, one := range append(old, path) {
		os.Remove(one)
	}
}
