package node

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/podlog"
	"fairlead.dev/fairlead/node/spec"
)

// Rotation of container logs.
const (
	rotatePeriod = 10 * time.Second
	maxLogSize   = 10 << 20
	maxLogFiles  = 3
)

// serveLogs writes a container's log.
func (a *Agent) serveLogs(w http.ResponseWriter, r *http.Request) {
	s, err := a.find(r.Context(), r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		fail(w, err)
		return
	}
	options, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.PathValue("container")
	c, err := loggedContainer(s, name, flag(r.URL.Query(), "previous"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	running := func() bool {
		if r.Context().Err() != nil {
			return false
		}
		now, err := a.find(r.Context(), s.pod.Namespace, s.pod.Name)
		return err == nil && now.pod.UID == s.pod.UID && stillUp(now.seen, c.ID)
	}
	w.Header().Set("Content-Type", "text/plain")
	path := filepath.Join(a.logDir(s.pod), spec.LogPath(name, c.Attempt))
	out := flusher{w, http.NewResponseController(w)}
	if options.Follow {
		w.WriteHeader(http.StatusOK)
		out.control.Flush()
	}
	if err := podlog.Read(r.Context(), out, path, options, running); err != nil && r.Context().Err() == nil {
		a.log.Debug("a log was not sent to its end", "error", err)
		fmt.Fprintln(w, err)
	}
}

// flusher sends every line on at once.
type flusher struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (f flusher) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// logOptions reads the query of a log request.
func logOptions(q url.Values, now time.Time) (podlog.Options, error) {
	o := podlog.Options{Follow: flag(q, "follow"), Timestamps: flag(q, "timestamps")}
	for name, target := range map[string]**int64{"tailLines": &o.Tail, "limitBytes": &o.LimitBytes} {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return o, fmt.Errorf("%s: %q is not a number of at least 0", name, text)
			}
			*target = &n
		}
	}
	if text := q.Get("sinceSeconds"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return o, fmt.Errorf("sinceSeconds: %q is not a number", text)
		}
		o.Since = now.Add(-time.Duration(n) * time.Second)
	}
	if text := q.Get("sinceTime"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return o, fmt.Errorf("sinceTime: %w", err)
		}
		o.Since = at
	}
	switch q.Get("stream") {
	case "Stdout":
		o.Stream = "stdout"
	case "Stderr":
		o.Stream = "stderr"
	}
	return o, nil
}

// loggedContainer chooses the container whose log is meant; the errors are upstream's.
func loggedContainer(s snapshot, name string, previous bool) (*life.Container, error) {
	list := s.seen.Containers[name]
	if previous {
		for i := range list {
			if list[i].State == life.Exited && (i > 0 || waitsFor(s.pod, name) != "") {
				return &list[i], nil
			}
		}
		return nil, fmt.Errorf("previous terminated container %q in pod %q not found", name, s.pod.Name)
	}
	for i := range list {
		if list[i].State != life.Created {
			return &list[i], nil
		}
	}
	switch reason := waitsFor(s.pod, name); reason {
	case "":
		return nil, fmt.Errorf("container %q in pod %q is not available", name, s.pod.Name)
	case reasonPullFailed:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: image can't be pulled", name, s.pod.Name)
	case reasonPullBackOff:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", name, s.pod.Name)
	default:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: %v", name, s.pod.Name, reason)
	}
}

// waitsFor is the reason for which a container waits, or "".
func waitsFor(pod *corev1.Pod, name string) string {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == name && list[i].State.Waiting != nil {
				return list[i].State.Waiting.Reason
			}
		}
	}
	return ""
}

// rotateLogs keeps the logs of running containers from growing without bound.
func (a *Agent) rotateLogs(ctx context.Context) error {
	for wait(ctx, rotatePeriod) {
		a.mu.Lock()
		workers := make([]*worker, 0, len(a.pods))
		for _, w := range a.pods {
			workers = append(workers, w)
		}
		a.mu.Unlock()
		for _, w := range workers {
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
				w.log.Warn("a log cannot be rotated", "container", name, "error", err)
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
	if _, err := a.engine.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
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
