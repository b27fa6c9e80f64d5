package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// admit refuses what this node must not run, and ends what has been active for too long. It returns the time after which a look at
// that has to be taken again.
func (w *worker) admit() time.Duration {
	if w.mem.Rejected != nil {
		return resyncPeriod
	}
	if message := spec.ForbiddenSysctl(w.pod); message != "" {
		w.reject("SysctlForbidden", message)
		return resyncPeriod
	}
	deadline := life.Deadline(w.view())
	if deadline.IsZero() {
		return resyncPeriod
	}
	if left := time.Until(deadline); left > 0 {
		return left
	}
	w.reject("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
	return resyncPeriod
}

func (w *worker) reject(reason, message string) {
	w.mem.Rejected = &life.Rejection{Reason: reason, Message: message}
	if w.pod.Status.Phase != corev1.PodFailed {
		w.event(corev1.EventTypeWarning, reason, message)
	}
}
