package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// active reports whether the pod counts as a replica: not finished and not being
// deleted, so that a deleted pod is replaced while it still stops (rule D22,
// replication controllers upstream).
func active(p *corev1.Pod) bool {
	return !api.Finished(p) && p.DeletionTimestamp == nil
}

// availability tells whether the pod has been ready for minReadySeconds (rule
// D26), and if it is only ready, how long until then.
func availability(p *corev1.Pod, minReadySeconds int32, now time.Time) (available bool, wait time.Duration) {
	ok, since := api.PodReadiness(p)
	if !ok {
		return false, 0
	}
	if minReadySeconds == 0 {
		return true, 0
	}
	wait = since.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
	return wait <= 0, max(wait, 0)
}

// restarts is the largest restart count of the pod's containers.
func restarts(p *corev1.Pod) int32 {
	var most int32
	for i := range p.Status.ContainerStatuses {
		most = max(most, p.Status.ContainerStatuses[i].RestartCount)
	}
	return most
}
