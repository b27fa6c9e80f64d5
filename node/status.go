package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"fairlead.dev/fairlead/node/life"
)

// report is the state of telling the API about a pod.
type report struct {
	busy  bool
	retry time.Time
	delay time.Duration // the wait that retry ends
}

// lastReport is the longest wait before a status that the API did not take is sent again.
const lastReport = 5 * time.Second

// tell patches the status when it differs from what the API has, and returns when to look again at the latest.
func (w *worker) tell(ctx context.Context) time.Duration {
	if w.gone || w.report.busy || w.mem.Deleting {
		return resyncPeriod
	}
	if left := time.Until(w.report.retry); left > 0 {
		return left
	}
	want := life.Status(w.view())
	w.noteRunning(&want)
	w.tellBackOff(&want)
	if equality.Semantic.DeepEqual(w.pod.Status, want) || w.mayWait(&want) {
		return resyncPeriod
	}
	w.report.busy = true
	pod := w.pod
	w.async(func() func() {
		answer, err := w.a.patchStatus(ctx, pod, want)
		return func() {
			w.report.busy = false
			switch {
			case err == nil:
				w.report.delay = 0
				w.update(answer)
			case ctx.Err() == nil:
				w.report.delay = life.Grow(w.report.delay, firstRetry, lastReport)
				w.report.retry = time.Now().Add(w.report.delay)
				if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // gone, or another of its name
					w.log.Warn("the pod's status cannot be reported", "error", err)
				}
			}
		}
	})
	return resyncPeriod
}

// mayWait: while something is being started, a change that says no more than that the sandbox runs is told with what follows.
func (w *worker) mayWait(want *corev1.PodStatus) bool {
	if !w.mem.Starting || len(w.pod.Status.ContainerStatuses) == 0 {
		return false
	}
	have := w.pod.Status.DeepCopy()
	have.PodIP, have.PodIPs = want.PodIP, want.PodIPs
	for i := range have.Conditions {
		if have.Conditions[i].Type != corev1.PodReadyToStartContainers {
			continue
		}
		for j := range want.Conditions {
			if want.Conditions[j].Type == corev1.PodReadyToStartContainers {
				have.Conditions[i] = want.Conditions[j]
			}
		}
	}
	return equality.Semantic.DeepEqual(have, want)
}

// patchTimeout bounds one call to the API.
const patchTimeout = 10 * time.Second

// patchStatus changes a pod's status from what the given object has to what is wanted. Conditions that others have written since
// are kept: the patch merges by type. A pod of the same name but another uid is left alone.
func (a *Agent) patchStatus(ctx context.Context, pod *corev1.Pod, want corev1.PodStatus) (*corev1.Pod, error) {
	patch, err := statusPatch(pod.UID, &pod.Status, &want)
	if err != nil {
		return nil, fmt.Errorf("status of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	return a.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// statusPatch is the strategic merge patch from one status to another, valid for this uid only.
func statusPatch(uid types.UID, from, to *corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: *from})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Status: *to})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}
