package node

import (
	"time"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/volume"
)

// measurePeriod is how often volumes on disk are measured that have a limit (kubelet's housekeeping of evictions).
const measurePeriod = 10 * time.Second

// boundVolumes ends a pod whose volume has become larger than it may. It returns the time until volumes are measured again.
func (w *worker) boundVolumes() time.Duration {
	if w.measuring || w.terminating() || w.mem.Rejected != nil || api.Finished(w.pod) || !volume.Limited(w.pod) {
		return resyncPeriod
	}
	if left := time.Until(w.measureAt); left > 0 {
		return left
	}
	w.measuring = true
	pod := w.pod
	w.async(func() func() {
		why, err := w.a.volumes.TooLarge(pod)
		return func() {
			w.measuring, w.measureAt = false, time.Now().Add(measurePeriod)
			if err != nil {
				w.log.Warn("volumes cannot be measured", "err", err)
			}
			if why != "" && w.mem.Rejected == nil {
				w.reject("Evicted", why, why)
			}
		}
	})
	return resyncPeriod
}
