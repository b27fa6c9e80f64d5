package server

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/podlog"
	"fairlead.dev/fairlead/node/spec"
)

// serveLogs writes a container's log.
func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	pod, err := s.pod(r)
	if err != nil {
		writeError(w, err)
		return
	}
	options, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.PathValue("container")
	c, err := loggedContainer(pod, name, flag(r.URL.Query(), "previous"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	running := func() bool {
		if r.Context().Err() != nil {
			return false
		}
		now, err := s.cfg.Pods.Get(r.Context(), pod.Object.Namespace, pod.Object.Name, pod.Object.UID)
		return err == nil && now.Seen.Up(c.ID)
	}
	w.Header().Set("Content-Type", "text/plain")
	path := filepath.Join(spec.LogDir(s.cfg.PodsDir, pod.Object), spec.LogPath(name, c.Attempt))
	out := flusher{w, http.NewResponseController(w)}
	if options.Follow {
		w.WriteHeader(http.StatusOK)
		out.control.Flush()
	}
	if err := podlog.Read(r.Context(), out, path, options, running); err != nil && r.Context().Err() == nil {
		s.log.Debug("a log was not sent to its end", "err", err)
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
func loggedContainer(pod Pod, name string, previous bool) (*life.Container, error) {
	list := pod.Seen.Containers[name]
	if previous {
		for i := range list {
			if list[i].State == life.Exited && (i > 0 || waitsFor(pod.Object, name) != "") {
				return &list[i], nil
			}
		}
		return nil, fmt.Errorf("previous terminated container %q in pod %q not found", name, pod.Object.Name)
	}
	for i := range list {
		if list[i].State != life.Created {
			return &list[i], nil
		}
	}
	switch reason := waitsFor(pod.Object, name); reason {
	case "":
		return nil, fmt.Errorf("container %q in pod %q is not available", name, pod.Object.Name)
	case life.ErrImagePull:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: image can't be pulled", name, pod.Object.Name)
	case life.ImagePullBackOff:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", name, pod.Object.Name)
	default:
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: %v", name, pod.Object.Name, reason)
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
