package kuberuntime

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/metrics"
	"fairlead.dev/fairlead/node/spec"
)

// List is what the runtime has of every pod: a change of it changes a Snapshot.
func (r *Client) List(ctx context.Context) (map[types.UID]*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	sandboxes, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := r.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := map[types.UID]*Snapshot{}
	of := func(labels, annotations map[string]string) *Snapshot {
		uid := types.UID(labels[spec.LabelPodUID])
		if out[uid] == nil {
			out[uid] = &Snapshot{Labels: labels}
		}
		if annotations[spec.AnnotationGrace] != "" {
			out[uid].Grace = annotations[spec.AnnotationGrace]
		}
		return out[uid]
	}
	for _, s := range sandboxes.Items {
		of(s.Labels, s.Annotations).add(s.Id, s.State.String())
	}
	for _, c := range containers.Containers {
		of(c.Labels, c.Annotations).add(c.Id, c.State.String())
	}
	delete(out, "")
	for _, s := range out {
		slices.Sort(s.states)
	}
	return out, nil
}

// Running counts the pods whose sandbox runs, and containers by their state.
func (r *Client) Running(ctx context.Context) (metrics.Running, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	out := metrics.Running{Containers: map[string]int{}}
	sandboxes, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return out, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := r.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return out, fmt.Errorf("list containers: %w", err)
	}
	for state := life.Created; state <= life.Unknown; state++ {
		out.Containers[state.String()] = 0
	}
	pods := map[string]bool{}
	for _, s := range sandboxes.Items {
		if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			pods[s.Labels[spec.LabelPodUID]] = true
		}
	}
	out.Pods = len(pods)
	for _, c := range containers.Containers {
		out.Containers[containerState(c.State).String()]++
	}
	return out, nil
}

// Snapshot is what the runtime has of one pod.
type Snapshot struct {
	Labels map[string]string // of its sandboxes and containers
	Grace  string            // its termination grace period, in seconds; empty if nothing says so
	states []string
}

func (s *Snapshot) add(id, state string) { s.states = append(s.states, id+"="+state) }

// State is equal for two snapshots if the same sandboxes and containers are in the same states.
func (s *Snapshot) State() string { return strings.Join(s.states, " ") }
