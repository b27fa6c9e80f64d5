package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/node/kuberuntime"
	"fairlead.dev/fairlead/node/server"
)

// errEnded answers for a worker that has just ended.
var errEnded = errors.New("the pod has just gone")

// state asks a worker for its pod.
func (w *worker) state(ctx context.Context) (server.Pod, error) {
	answer := make(chan server.Pod, 1)
	w.mail.post(func() { answer <- server.Pod{Object: w.current(), Seen: w.seen} })
	timer := time.NewTimer(kuberuntime.CallTimeout)
	defer timer.Stop()
	select {
	case p := <-answer:
		return p, nil
	case <-timer.C:
		return server.Pod{}, errEnded
	case <-ctx.Done():
		return server.Pod{}, ctx.Err()
	}
}

// workers are those of all pods.
func (a *Agent) workers() []*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*worker, 0, len(a.pods))
	for _, w := range a.pods {
		all = append(all, w)
	}
	return all
}

// lookup is what the agent's API knows of the agent.
type lookup struct{ *Agent }

// Get implements server.Pods.
func (a lookup) Get(ctx context.Context, namespace, name string, uid types.UID) (server.Pod, error) {
	var best *server.Pod
	for _, w := range a.workers() {
		if w.first.Namespace != namespace || w.first.Name != name || uid != "" && w.uid != uid {
			continue
		}
		p, err := w.state(ctx)
		if ctx.Err() != nil {
			return p, ctx.Err()
		}
		if err == nil && (best == nil || best.Object.DeletionTimestamp != nil) {
			best = &p
		}
	}
	if best == nil {
		return server.Pod{}, fmt.Errorf("pod %q %w in namespace %q", name, server.ErrNotFound, namespace)
	}
	return *best, nil
}

// List implements server.Pods. All are asked at once: one that is at work answers when it has done.
func (a lookup) List(ctx context.Context) []server.Pod {
	workers := a.workers()
	pods, asked := make([]server.Pod, len(workers)), sync.WaitGroup{}
	for i, w := range workers {
		asked.Go(func() { pods[i], _ = w.state(ctx) }) // one that has ended has nothing to tell
	}
	asked.Wait()
	return slices.DeleteFunc(pods, func(p server.Pod) bool { return p.Object == nil })
}

// Has implements server.Pods.
func (a lookup) Has(ip netip.Addr) bool { return a.searches.has(ip) }
