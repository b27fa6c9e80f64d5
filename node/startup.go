package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
)

// startup measures how long a pod took to start, once. Pods that had been seen by an agent before are not measured.
type startup struct {
	running bool        // the time until it was Running is measured
	started bool        // the time until all its containers were reported as started is measured
	pulls   []life.Span // of its images
}

// observeRunning measures when the pod is found to be Running for the first time.
func (w *worker) observeRunning(want *corev1.PodStatus) {
	if w.startup.running || want.Phase != corev1.PodRunning {
		return
	}
	w.startup.running = true
	if before := w.pod.Status.Phase; before == "" || before == corev1.PodPending {
		w.a.metrics.PodStartDuration.Observe(time.Since(w.mem.FirstSeen).Seconds())
	}
}

// observeStarted measures when the API is known to have the start of all containers.
func (w *worker) observeStarted() {
	if w.startup.started || w.first.Status.StartTime != nil || !life.AllStarted(w.pod) {
		return
	}
	w.startup.started = true
	first := ""
	if !w.pod.Spec.HostNetwork && w.a.hadNetwork.CompareAndSwap(false, true) {
		first = "true"
	}
	without := append(life.InitSpans(w.pod, w.seen), w.startup.pulls...)
	took := life.StartupDuration(w.pod.CreationTimestamp.Time, time.Now(), without)
	w.a.metrics.PodStartSLIDuration.WithLabelValues(first).Observe(took.Seconds())
}
