package guard

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/world"
)

// kernel is what a Guard writes with.
type kernel struct {
	rules  *netfilter.Socket
	tables *tables
	cutter *cutter
}

// open opens sockets in the calling thread's network namespace.
func open() (*kernel, error) {
	rules, err := netfilter.Dial()
	if err != nil {
		return nil, err
	}
	c, err := newCutter()
	if err != nil {
		rules.Close()
		return nil, err
	}
	return &kernel{rules, newTables(rules), c}, nil
}

func (k *kernel) close() {
	k.rules.Close()
	k.cutter.close()
}

// enforcing is the state while there are policies. One goroutine has it.
type enforcing struct {
	*Guard
	kernel             *kernel
	policies, subjects *world.World
	deriver            *policy.Deriver
	failures           int // in a row
}

// enforce keeps policies in the kernel until there are none.
func (g *Guard) enforce(ctx context.Context, k *kernel, policies *world.World) {
	ctx, cancel := context.WithCancel(ctx)
	subjects := world.New()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.follow(ctx, subjects, world.Namespaces, world.Pods) // ends with ctx
	}()
	defer func() { cancel(); <-ended }()
	g.mu.Lock()
	g.free = false
	for _, a := range g.admitted {
		a.taken = false
	}
	g.mu.Unlock()
	select { // a part of the truth is not written
	case <-subjects.Synced():
	case <-ctx.Done():
		return
	}
	e := &enforcing{Guard: g, kernel: k, policies: policies, subjects: subjects, deriver: policy.New(g.cfg.NodeName)}
	rules, others := policies.Subscribe(world.NetworkPolicies), subjects.Subscribe(world.Namespaces, world.Pods)
	defer rules.Close()
	defer others.Close()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-rules.Wake():
		case <-others.Wake():
		case <-g.wake:
		case <-retry.C:
		case <-look.C:
			if !k.tables.lost() {
				continue
			}
			g.log.Warn("somebody else removed the rules of network policies; writing them again")
		case <-ctx.Done():
			return
		}
		if len(policies.NetworkPolicies()) == 0 {
			return
		}
		if err := e.step(rules.Take(), others.Take()); err != nil {
			retry.Reset(min(firstRetry<<min(e.failures, 10), lastRetry))
		}
	}
}

// lookEvery is how often to look whether somebody removed a table that has no owner.
const lookEvery = time.Second

// step takes in what changed and brings it into the kernel.
func (e *enforcing) step(rules, others world.Changes) error {
	started := time.Now()
	for name := range rules.Of(world.NetworkPolicies) {
		e.takePolicy(name)
	}
	for name := range others.Of(world.Namespaces) {
		if labels, known := e.subjects.NamespaceLabels(name.Name), e.subjects.HasNamespace(name.Name); known {
			e.deriver.SetNamespace(name.Name, labels)
		} else {
			e.deriver.DeleteNamespace(name.Name)
		}
	}
	e.mu.Lock()
	for name := range others.Of(world.Pods) {
		e.takePod(name)
	}
	taken := e.takeAdmitted()
	e.mu.Unlock()
	rows := e.deriver.Rows()
	changed, err := e.kernel.tables.write(rows)
	if err != nil {
		if e.failures++; e.failures == 1 {
			e.log.Error("cannot program network policies into the kernel; retrying", "err", err)
		}
		e.metrics.failures.Inc()
		return err
	}
	if e.failures > 0 {
		e.log.Info("network policies are programmed again", "failures", e.failures)
		e.failures = 0
	}
	e.written(taken, rows)
	if changed {
		e.metrics.wrote(started)
		e.cut(rows)
	}
	return nil
}

func (e *enforcing) takePolicy(name types.NamespacedName) {
	p := e.policies.NetworkPolicy(name)
	if p == nil {
		e.deriver.DeletePolicy(name)
		return
	}
	if err := e.deriver.SetPolicy(p); err != nil { // the API refuses such
		e.log.Error("a part of a network policy cannot be read, and lets nothing pass", "err", err)
	}
}

// takePod takes in what the API says of a pod. Of one that the agent has admitted, its addresses and its end are the agent's to tell: what
// still runs, or already does, of a name that the API knows otherwise is a pod of its own. The caller holds mu.
func (e *enforcing) takePod(name types.NamespacedName) {
	p := e.subjects.Pod(name)
	for _, a := range e.admitted {
		switch {
		case api.Name(a.pod) != name:
		case p != nil && p.UID == a.pod.UID:
			known := *a.pod
			known.Labels = p.Labels
			p = &known
			e.deriver.DeletePod(apart(a.pod))
		default:
			known := *a.pod
			known.Name = apart(a.pod).Name
			e.deriver.SetPod(&known)
		}
	}
	if p == nil {
		e.deriver.DeletePod(name)
		return
	}
	e.deriver.SetPod(p)
}

// apart is the name of a pod that shares its own with another: none in the API has a slash.
func apart(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name + "/" + string(pod.UID)}
}

// takeAdmitted takes in pods that the agent has admitted, and lets go of those that have ended. The caller holds mu.
func (e *enforcing) takeAdmitted() (taken []*admitted) {
	for _, pod := range e.ended {
		e.deriver.DeletePod(apart(pod))
		e.takePod(api.Name(pod))
	}
	e.ended = nil
	for _, a := range e.admitted {
		if !a.taken {
			a.taken = true
			e.takePod(api.Name(a.pod))
			taken = append(taken, a)
		}
	}
	return taken
}

// written tells who waits that the kernel has their pods' policies.
func (e *enforcing) written(taken []*admitted, rows *policy.Rows) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range taken {
		a.written = true
	}
	e.metrics.rows(rows)
	e.told()
}

func (e *enforcing) cut(rows *policy.Rows) {
	n, err := e.kernel.cutter.cut(rows)
	e.metrics.cut.Add(float64(n))
	if err != nil {
		e.log.Error("cannot cut connections that network policies forbid", "err", err)
	}
}
