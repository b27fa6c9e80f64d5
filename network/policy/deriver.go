package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Deriver keeps one node's rows up to date with what it is told. Of a cluster only those policies cost anything that select a pod of
// this node, and a change of a pod that is not this node's costs a look at that pod, unless it is the first or the last of its group. It
// is not safe for concurrent use.
type Deriver struct {
	node       string
	rows       Rows
	namespaces map[string]labels.Set
	pods       map[types.NamespacedName]*pod
	in         map[string]map[types.NamespacedName]*pod      // by namespace
	policies   map[string]map[types.NamespacedName]*compiled // by namespace
	owners     map[netip.Addr]*pod                           // an address may be given to a pod before the one that had it is known to be gone

	peers []*peer    // that rules of policies in force name, in the order of their keys
	names []portName // that egress rules in force name
	spans []span     // of the peers that are blocks

	groups, sets numbers
	members      map[string]int     // how many addresses of pods there are in a group, by its key
	known        map[string]portSet // the sets in use, by key
	stale        struct {
		policies bool // which are in force is to be found out again
		peers    bool // all pods are to be looked at
		groups   bool // which groups there are may have changed
	}
	changed map[types.NamespacedName]*pod // pods to be looked at
}

// pod is what is known of one.
type pod struct {
	object *corev1.Pod
	here   bool
	addrs  []netip.Addr
	called named
	groups []string // keys of the groups of its addresses; empty: the one of all others
}

// New returns a Deriver for a node that knows of nothing.
func New(node string) *Deriver {
	return &Deriver{node: node, namespaces: map[string]labels.Set{}, pods: map[types.NamespacedName]*pod{}, in: map[string]map[types.NamespacedName]*pod{},
		policies: map[string]map[types.NamespacedName]*compiled{}, changed: map[types.NamespacedName]*pod{}, owners: map[netip.Addr]*pod{}, members: map[string]int{}, known: map[string]portSet{}}
}

// SetPod takes in a pod as it is now.
func (d *Deriver) SetPod(object *corev1.Pod) {
	name := api.Name(object)
	p := &pod{object: object, here: object.Spec.NodeName == d.node, addrs: addresses(object), called: namedOf(object)}
	if was := d.pods[name]; was != nil {
		if slices.Equal(was.addrs, p.addrs) && was.here == p.here && maps.Equal(was.object.Labels, object.Labels) && maps.Equal(was.called, p.called) {
			was.object = object
			return
		}
		d.forget(name, was)
	}
	d.pods[name] = p
	if d.in[name.Namespace] == nil {
		d.in[name.Namespace] = map[types.NamespacedName]*pod{}
	}
	d.in[name.Namespace][name] = p
	for _, a := range p.addrs {
		d.owners[a] = p
	}
	d.changed[name] = p
	d.stale.policies = d.stale.policies || p.here
}

// DeletePod forgets a pod.
func (d *Deriver) DeletePod(name types.NamespacedName) {
	if was := d.pods[name]; was != nil {
		d.forget(name, was)
		delete(d.pods, name)
		if delete(d.in[name.Namespace], name); len(d.in[name.Namespace]) == 0 {
			delete(d.in, name.Namespace)
		}
	}
}

// forget takes a pod's addresses out of the groups.
func (d *Deriver) forget(name types.NamespacedName, was *pod) {
	for _, a := range was.addrs {
		if d.owners[a] == was {
			delete(d.owners, a)
			d.rows.Peers.remove(a)
		}
	}
	d.regroup(was, nil)
	delete(d.changed, name)
	d.stale.policies = d.stale.policies || was.here
}

// SetNamespace takes in a namespace's labels.
func (d *Deriver) SetNamespace(name string, its map[string]string) {
	if its == nil {
		its = map[string]string{}
	}
	d.namespaces[name] = its
	d.changeAll(name)
}

// DeleteNamespace forgets a namespace.
func (d *Deriver) DeleteNamespace(name string) {
	delete(d.namespaces, name)
	d.changeAll(name)
}

func (d *Deriver) changeAll(namespace string) {
	for name, p := range d.in[namespace] {
		d.changed[name] = p
	}
}

// SetPolicy takes in a policy as it is now. What the API would have refused is an error; what could be read of it counts.
func (d *Deriver) SetPolicy(object *networkingv1.NetworkPolicy) error {
	name := api.Name(object)
	if d.policies[name.Namespace] == nil {
		d.policies[name.Namespace] = map[types.NamespacedName]*compiled{}
	}
	c, err := compile(object)
	if err != nil {
		err = fmt.Errorf("NetworkPolicy %s: %w", name, err)
	}
	d.policies[name.Namespace][name] = c
	d.stale.policies = true
	return err
}

// DeletePolicy forgets a policy.
func (d *Deriver) DeletePolicy(name types.NamespacedName) {
	delete(d.policies[name.Namespace], name)
	d.stale.policies = true
}

// Rows are the rows by what the Deriver was told up to now. They are valid until it is told more; callers must not change them.
func (d *Deriver) Rows() *Rows {
	var selected []*selected
	if d.stale.policies {
		selected = d.selected()
		d.inForce(selected)
	}
	d.lookAtPods()
	if d.stale.policies || d.stale.groups {
		if selected == nil {
			selected = d.selected()
		}
		d.decide(selected)
	}
	d.stale.policies, d.stale.peers, d.stale.groups = false, false, false
	return &d.rows
}

// selected is a pod of this node with the policies that select it, in order.
type selected struct {
	pod      *pod
	policies []*compiled
}

func (d *Deriver) selected() []*selected {
	var all []*selected
	for namespace, policies := range d.policies {
		for _, p := range d.in[namespace] {
			if !p.here || len(p.addrs) == 0 {
				continue
			}
			s := &selected{pod: p}
			for _, c := range policies {
				if c.selects.Matches(labels.Set(p.object.Labels)) {
					s.policies = append(s.policies, c)
				}
			}
			if len(s.policies) > 0 {
				slices.SortFunc(s.policies, func(a, b *compiled) int { return strings.Compare(a.object.Name, b.object.Name) })
				all = append(all, s)
			}
		}
	}
	return all
}

// inForce finds the peers and the names of ports that matter now. If they are others than before, all pods are to be looked at.
func (d *Deriver) inForce(selected []*selected) {
	peers, names := map[string]*peer{}, map[portName]struct{}{}
	seen := map[*compiled]bool{}
	for _, s := range selected {
		for _, c := range s.policies {
			if seen[c] {
				continue
			}
			seen[c] = true
			for direction, rules := range c.rules {
				if rules == nil {
					continue
				}
				for _, r := range *rules {
					for _, p := range r.peers {
						peers[p.key] = p
					}
					for _, n := range r.ports.named {
						if Direction(direction) == Egress {
							names[n] = struct{}{}
						}
					}
				}
			}
		}
	}
	keys, sorted := slices.Sorted(maps.Keys(peers)), slices.SortedFunc(maps.Keys(names), comparePortNames)
	if slices.EqualFunc(d.peers, keys, func(p *peer, key string) bool { return p.key == key }) && slices.Equal(d.names, sorted) {
		return
	}
	d.peers, d.names, d.stale.peers = nil, sorted, true
	for _, key := range keys {
		d.peers = append(d.peers, peers[key])
	}
	d.spans = divide(d.peers)
}

// lookAtPods brings the groups of pods up to date.
func (d *Deriver) lookAtPods() {
	look := d.changed
	if d.stale.peers {
		look = d.pods
	}
	for _, p := range look {
		pods := d.peersOf(p)
		groups := make([]string, len(p.addrs))
		for i, a := range p.addrs {
			groups[i] = d.keyOf(pods, p.called, a)
			switch {
			case d.owners[a] != p:
			case groups[i] == "":
				d.rows.Peers.remove(a)
			default:
				d.rows.Peers.set(a, Group(d.groups.number(groups[i])))
			}
		}
		d.regroup(p, groups)
	}
	clear(d.changed)
}

// regroup moves a pod's addresses to groups, and notes whether one came to be or ended.
func (d *Deriver) regroup(p *pod, groups []string) {
	for _, key := range groups {
		if d.members[key]++; d.members[key] == 1 {
			d.stale.groups = true
		}
	}
	for _, key := range p.groups {
		if d.members[key]--; d.members[key] == 0 {
			delete(d.members, key)
			d.stale.groups = true
		}
	}
	p.groups = groups
}

// peersOf are the selectors that mean a pod, by their places.
func (d *Deriver) peersOf(p *pod) []int {
	var all []int
	namespace := p.object.Namespace
	for i, peer := range d.peers {
		if !peer.isBlock() && peer.in(namespace, d.namespaces[namespace]) && peer.pods.Matches(labels.Set(p.object.Labels)) {
			all = append(all, i)
		}
	}
	return all
}

// keyOf says what group an address of a pod is in; empty: that of all others. The blocks that have it are part of it, since no other
// table is asked for an address that is in this one.
func (d *Deriver) keyOf(pods []int, called named, a netip.Addr) string {
	names := called.key(d.names)
	if len(pods) == 0 && names == "" {
		return ""
	}
	return d.key(append(slices.Clone(pods), find(d.spans, a)...)) + names
}

// key is peers as text that stays the same as long as they do.
func (d *Deriver) key(peers []int) string {
	var b strings.Builder
	slices.Sort(peers)
	for _, i := range peers {
		b.WriteString(d.peers[i].key)
		b.WriteByte('\n')
	}
	return b.String()
}
