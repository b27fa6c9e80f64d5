package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// checkAdmission refuses what this node must not run, and ends what has run for too long.
func (w *worker) checkAdmission() {
	if w.mem.Rejected != nil {
		return
	}
	if message := spec.ForbiddenSysctl(w.pod); message != "" {
		w.reject("SysctlForbidden", message)
		return
	}
	limit := w.pod.Spec.ActiveDeadlineSeconds
	if limit != nil && w.pod.Status.StartTime != nil && time.Since(w.pod.Status.StartTime.Time) >= time.Duration(*limit)*time.Second {
		w.reject("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
	}
}

func (w *worker) reject(reason, message string) {
	w.mem.Rejected = &life.Rejection{Reason: reason, Message: message}
	if w.pod.Status.Phase != corev1.PodFailed {
		w.event(corev1.EventTypeWarning, reason, message)
	}
}
