package apiserver

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/apiserver/registry"
)

// repairNumbers has the storage of Services compare its book with what is stored until ctx ends.
func (k keeper) repairNumbers(ctx context.Context, services rest.Storage, log *slog.Logger) {
	if s, ok := services.(interface {
		Repair(context.Context, *slog.Logger, func(context.Context, registry.Shared))
	}); ok {
		s.Repair(ctx, log, k.tellShared)
	}
}

// tellShared writes an Event on a Service that has a number of an older one. Its name follows from what it says, so that
// it is there once, and again when it has expired and is still true. The repair has logged the same.
func (k keeper) tellShared(ctx context.Context, s registry.Shared) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	svc, now := s.Service, metav1.Now()
	sum := fnv.New64a()
	fmt.Fprint(sum, svc.UID, s.Message)
	_, _ = k.client.CoreV1().Events(svc.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", svc.Name, sum.Sum64()), Namespace: svc.Namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: svc.Namespace, Name: svc.Name, UID: svc.UID},
		Type:           corev1.EventTypeWarning, Reason: s.Reason, Message: s.Message,
		Source: corev1.EventSource{Component: "fairlead-apiserver"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
}
