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

// statusSync is the state of reporting a pod to the API.
type statusSync struct {
	busy  bool
	retry time.Time
	delay time.Duration // the wait that retry ends
}

// lastStatusRetry is the longest wait before a status that the API did not take is sent again.
const lastStatusRetry = 5 * time.Second

// syncStatus patches the status when it differs from what the API has, and returns when to look again at the latest.
func (w *worker) syncStatus(ctx context.Context) time.Duration {
	if w.gone || w.status.busy || w.mem.Deleting {
		return resyncPeriod
	}
	if left := time.Until(w.status.retry); left > 0 {
		return left
	}
	want := life.Status(w.view())
	w.observeRunning(&want)
	w.recordBackOff(&want)
	if equality.Semantic.DeepEqual(w.pod.Status, want) || w.canDefer(&want) {
		return resyncPeriod
	}
	w.status.busy = true
	pod := w.pod
	w.async(func() func() {
		answer, err := w.a.patchStatus(ctx, pod, want)
		return func() {
			w.status.busy = false
			switch {
			case err == nil:
				w.status.delay = 0
				w.update(answer)
			case ctx.Err() == nil:
				w.status.delay = life.Grow(w.status.delay, firstRetry, lastStatusRetry)
				w.status.retry = time.Now().Add(w.status.delay)
				if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // gone, or another of its name
					w.log.Warn("the pod's status cannot be reported", "err", err)
				}
			}
		}
	})
	return resyncPeriod
}

// canDefer: while something is being started, a change that says no more than that the sandbox runs is reported with what follows.
func (w *worker) canDefer(want *corev1.PodStatus) bool {
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
