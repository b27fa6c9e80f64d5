package nft

import (
	"errors"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/world"
)

// table is what a loop has of each IP version: what the kernel should have, and
// what it has.
type table struct {
	proxy   *Proxy
	family  *plan.Family
	desired *plan.Desired
	applied *applied

	node   lb.Node
	stale  bool // the kernel may differ from what is desired: write everything
	intact bool // the table is as this Proxy or its predecessor left it

	cut     []plan.Flows                      // what the next transaction makes wrong
	skipped map[types.NamespacedName]struct{} // could not be taken in; to be tried again

	explained bool        // why the kernel refuses the table was said
	triggers  []time.Time // of pods, that the next transaction includes

	transactions, rewrites int
}

func newTable(p *Proxy, f *plan.Family, s *socket) *table {
	return &table{proxy: p, family: f, desired: plan.NewDesired(), stale: true, applied: &applied{socket: s, flags: rule.TableOwner | rule.TablePersist}}
}

// takeIn takes in changes and adds the names of Services that are
// not as before.
func (t *table) takeIn(changes world.Changes, changed map[types.NamespacedName]struct{}) error {
	t.desired.Unstaged = t.stale
	services := changes.Of(world.Services)
	names := slices.AppendSeq(make([]types.NamespacedName, 0, len(services)+len(t.skipped)), maps.Keys(services))
	for name := range t.skipped {
		if _, again := services[name]; !again {
			names = append(names, name)
		}
	}
	t.skipped = nil
	_, api := services[api.APIService]
	if len(changes.Of(world.Nodes))+len(changes.Of(world.ServiceCIDRs)) > 0 || api || t.applied.sizes[0] == 0 {
		names = t.lookAtNodes(names)
	}
	t.desired.Reserve(len(names))
	return t.derive(names, changed)
}

// lookAtNodes takes in what changed about nodes and returns the Services to
// derive again: all of them if this node is not what it was, and those that the
// outside can reach if other addresses are reserved.
func (t *table) lookAtNodes(names []types.NamespacedName) []types.NamespacedName {
	node, layout := t.proxy.node(t.family)
	moved := node.Zone != t.node.Zone || node.Name != t.node.Name
	reserved := !node.Reserved.Equal(t.node.Reserved)
	if !layout.Equal(t.applied.layout) {
		t.applied.layout, t.desired.LocalPods = layout, layout.LocalPods
		t.stale, moved = true, true
	}
	t.desired.SetNodes(t.proxy.nodeAddresses(t.family))
	t.node = node
	switch {
	case !moved && reserved:
		return append(names, t.exposed()...)
	case !moved:
		return names
	}
	all := t.proxy.world.Services()
	for _, name := range names { // those that are gone
		if t.desired.Service(name) != nil {
			all = append(all, name)
		}
	}
	return all
}

// exposed are the Services that the outside can reach.
func (t *table) exposed() []types.NamespacedName {
	return slices.DeleteFunc(t.proxy.world.Services(), func(name types.NamespacedName) bool {
		s, _ := t.proxy.world.Service(name)
		return s == nil || !lb.Exposed(s)
	})
}

// derived is what the World says of a Service, and what that means here.
type derived struct {
	name   types.NamespacedName
	object *corev1.Service
	slices []*discoveryv1.EndpointSlice
	rows   lb.Rows
}

// derivedAhead derives the named Services. Many are derived by another
// goroutine while what came first is already taken in.
func (t *table) derivedAhead(names []types.NamespacedName, each func(*derived)) {
	node, family := t.node, t.family
	one := func(name types.NamespacedName) derived {
		d := derived{name: name}
		d.object, d.slices = t.proxy.service(family, name)
		d.rows = lb.Derive(d.object, d.slices, node)
		d.rows.Service = name
		return d
	}
	const block = 256
	if len(names) <= block {
		for _, name := range names {
			d := one(name)
			each(&d)
		}
		return
	}
	blocks := make(chan []derived, 4)
	go func() {
		defer close(blocks)
		for part := range slices.Chunk(names, block) {
			done := make([]derived, len(part))
			for i, name := range part {
				done[i] = one(name)
			}
			blocks <- done
		}
	}()
	for done := range blocks {
		for i := range done {
			each(&done[i])
		}
	}
}

// derive takes in the named Services. A Service that cannot be
// expressed keeps its previous state and is tried again.
func (t *table) derive(names []types.NamespacedName, changed map[types.NamespacedName]struct{}) error {
	var failed error
	t.derivedAhead(names, func(d *derived) {
		before := t.desired.Service(d.name)
		flows := t.desired.OwnFlows(before)
		differs, moved, err := t.desired.Update(d.rows)
		if err != nil {
			failed = errors.Join(failed, err)
			if t.skipped == nil {
				t.skipped = map[types.NamespacedName]struct{}{}
			}
			t.skipped[d.name] = struct{}{}
			return
		}
		if differs {
			changed[d.name] = struct{}{}
		}
		if len(flows) > 0 || len(d.rows.Serving) > 0 {
			t.cut = append(t.cut, plan.ToCut(flows, t.desired.OwnFlows(t.desired.Service(d.name)))...)
		}
		t.cut = append(t.cut, t.desired.InheritedFlows(moved)...)
		t.note(before, d)
	})
	return failed
}

// note measures a change for the metrics: what kind it is, and what started it.
func (t *table) note(before *plan.Service, d *derived) {
	m := t.proxy.metrics
	if t.proxy.cfg.Metrics == nil {
		return
	}
	if before == nil {
		before = &plan.Service{}
	}
	if t.family == t.proxy.families[0] {
		kind := &m.endpoints
		if before.Object != d.object {
			kind = &m.services
		}
		kind.total.Inc()
		kind.pending.Inc()
	}
	s := t.desired.Service(d.name)
	if s == nil {
		return
	}
	s.Object, s.Triggered = d.object, before.Triggered
	for _, at := range triggers(t.family, d.slices, latest(before.Triggered, m.since)) {
		t.triggers = append(t.triggers, at)
		s.Triggered = latest(s.Triggered, at)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// write brings what is desired into the kernel, by the difference if that is known.
func (t *table) write() error {
	if !t.stale && t.desired.Fits(t.applied.sizes) {
		d := t.desired.Take()
		if d.IsEmpty() {
			return nil
		}
		t.transactions++
		if err := t.applied.update(t.desired, d); err == nil {
			return nil
		}
		// The kernel is not what we think it is. Writing everything does not
		// depend on what it is.
		t.intact = false
	}
	t.stale = true
	t.desired.EndRestore()
	if t.rewrites == 0 {
		t.takeOver()
	}
	if err := t.applied.rewrite(t.desired, t.intact); err != nil {
		t.intact = false
		if !t.explained {
			t.explained, err = true, explained(t.family, err)
		}
		return err
	}
	t.stale, t.intact = false, true
	t.transactions++
	t.rewrites++
	return nil
}
