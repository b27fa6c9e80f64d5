package placement

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// noProvisioner is the provisioner of classes whose volumes somebody makes by hand.
const noProvisioner = "kubernetes.io/no-provisioner"

// Storage is the cluster's volumes. What there is not is nil.
type Storage struct {
	Claim   func(namespace, name string) *corev1.PersistentVolumeClaim
	Volume  func(name string) *corev1.PersistentVolume
	Volumes func(class string) []*corev1.PersistentVolume
	Class   func(name string) *storagev1.StorageClass
	Limits  func(node string) map[string]int // how many volumes of a driver the node takes; those without a limit are not there
}

// Bindings are what has to be true of a pod's claims before the pod can go to its node.
type Bindings struct {
	Matches   []Match                         // volumes that are there
	Provision []*corev1.PersistentVolumeClaim // for whose volumes the node is to be told
}

// Match is a claim and the volume for it.
type Match struct {
	Claim  *corev1.PersistentVolumeClaim
	Volume *corev1.PersistentVolume
}

// None reports whether nothing is to be done.
func (b *Bindings) None() bool { return len(b.Matches)+len(b.Provision) == 0 }

// Bound reports whether the claim has its volume, and both sides agree.
func Bound(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName != "" && metav1.HasAnnotation(claim.ObjectMeta, bindCompleted)
}

// volumes are the claims of one pod.
type volumes struct {
	*Storage
	all     []*corev1.PersistentVolumeClaim
	bound   []*corev1.PersistentVolumeClaim
	waiting []*corev1.PersistentVolumeClaim       // for the pod to have a node
	free    map[string][]*corev1.PersistentVolume // by class, of those that wait
}

// lookUp finds the pod's claims; or says why there is no use in looking for a node.
func (r *request) lookUp() (v *volumes, never string) {
	if r.volumes != nil || len(r.claims) == 0 {
		return r.volumes, ""
	}
	v = &volumes{Storage: r.cluster.Storage, free: map[string][]*corev1.PersistentVolume{}}
	unbound := false
	for i := range r.object.Spec.Volumes {
		claim, why := v.claimOf(r.object, &r.object.Spec.Volumes[i])
		switch {
		case why != "":
			return nil, why
		case claim == nil:
			continue
		case Bound(claim):
			v.bound = append(v.bound, claim)
		case claim.Spec.VolumeName == "" && v.delayed(claim):
			v.waiting = append(v.waiting, claim)
			class := ClaimClass(claim)
			v.free[class] = v.Volumes(class)
		default:
			unbound = true
		}
		v.all = append(v.all, claim)
	}
	if unbound {
		return nil, "pod has unbound immediate PersistentVolumeClaims"
	}
	size := func(c *corev1.PersistentVolumeClaim) int64 { return c.Spec.Resources.Requests.Storage().Value() }
	slices.SortStableFunc(v.waiting, func(a, b *corev1.PersistentVolumeClaim) int { return cmp.Compare(size(a), size(b)) })
	r.volumes = v
	return v, ""
}

// claimOf is the claim that a pod's volume is, nil for a volume of another kind; or says why it is none, in upstream's words.
func (v *volumes) claimOf(p *corev1.Pod, vol *corev1.Volume) (claim *corev1.PersistentVolumeClaim, why string) {
	var name string
	switch {
	case vol.PersistentVolumeClaim != nil:
		name = vol.PersistentVolumeClaim.ClaimName
		why = fmt.Sprintf("persistentvolumeclaim %q not found", name)
	case vol.Ephemeral != nil:
		name = ephemeral.VolumeClaimName(p, vol)
		why = fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
	default:
		return nil, ""
	}
	claim = v.Claim(p.Namespace, name)
	switch {
	case claim == nil:
		return nil, why
	case claim.Status.Phase == corev1.ClaimLost:
		return nil, fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, claim.Spec.VolumeName)
	case claim.DeletionTimestamp != nil:
		return nil, fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
	}
	if vol.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(p, claim); err != nil {
			return nil, err.Error()
		}
	}
	return claim, ""
}

// delayed reports whether the claim gets its volume when a pod that needs it has a node.
func (v *volumes) delayed(claim *corev1.PersistentVolumeClaim) bool {
	class := v.Class(ClaimClass(claim))
	return class != nil && class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// volumeBinding is about where the pod's volumes are, or can be made.
func volumeBinding(r *request) *judgement {
	v, never := r.lookUp()
	if v == nil {
		return unless(never)
	}
	return &judgement{check: func(n *Node) (no refusal) {
		for _, claim := range v.bound {
			pv := v.Volume(claim.Spec.VolumeName)
			if pv == nil {
				return forever("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
			}
			if !reaches(pv, n.Object.Labels) {
				no = forever("node(s) didn't match PersistentVolume's node affinity")
			}
		}
		if _, ok := v.find(n); !ok {
			no.reasons, no.final = append(no.reasons, "node(s) didn't find available persistent volumes to bind"), true
		}
		return no
	}}
}

// unless is a judgement that refuses all nodes, if there is a reason.
func unless(never string) *judgement {
	if never == "" {
		return nil
	}
	return &judgement{never: never}
}

// find is what would be bound for the pod on the node: volumes that are there, the smallest that do, and else new ones.
func (v *volumes) find(n *Node) (out Bindings, ok bool) {
	taken := map[string]bool{}
	for _, claim := range v.waiting {
		className := ClaimClass(claim)
		if selected, has := claim.Annotations[selectedNode]; has {
			if selected != n.Object.Name {
				return out, false
			}
		} else if pv := match(claim, v.free[className], n.Object.Labels, taken); pv != nil {
			taken[pv.Name] = true
			out.Matches = append(out.Matches, Match{claim, pv})
			continue
		}
		class := v.Class(className)
		if class == nil || class.Provisioner == "" || class.Provisioner == noProvisioner ||
			!allowed(class.AllowedTopologies, n.Object.Labels) {
			return out, false
		}
		out.Provision = append(out.Provision, claim)
	}
	return out, true
}

// largeVolumes prefers the node on which volumes that are there have the most to spare, a class at a time.
func largeVolumes(r *request, nodes []*Node, points []int64) bool {
	if r.volumes == nil || len(r.volumes.waiting) == 0 {
		return false
	}
	for i, n := range nodes {
		bindings, _ := r.volumes.find(n)
		want, have := map[string]int64{}, map[string]int64{}
		for _, m := range bindings.Matches {
			class := m.Volume.Spec.StorageClassName
			want[class] += m.Claim.Spec.Resources.Requests.Storage().Value()
			have[class] += m.Volume.Spec.Capacity.Storage().Value()
		}
		sum := int64(0)
		for class, size := range have {
			if size > 0 && want[class] <= size {
				sum += most - want[class]*most/size
			}
		}
		points[i] = 0
		if len(have) > 0 {
			points[i] = int64(math.Round(float64(sum) / float64(len(have))))
		}
	}
	return true
}

// allowed reports whether one of the terms is met by the labels: all of its expressions. No terms allow everything.
func allowed(terms []corev1.TopologySelectorTerm, labels map[string]string) bool {
	meets := func(e corev1.TopologySelectorLabelRequirement) bool {
		value, ok := labels[e.Key]
		return ok && slices.Contains(e.Values, value)
	}
	return len(terms) == 0 || slices.ContainsFunc(terms, func(t corev1.TopologySelectorTerm) bool {
		return len(t.MatchLabelExpressions) > 0 &&
			!slices.ContainsFunc(t.MatchLabelExpressions, func(e corev1.TopologySelectorLabelRequirement) bool { return !meets(e) })
	})
}

// oncePod is about claims that only one pod may use at a time.
func oncePod(r *request) *judgement {
	v, never := r.lookUp()
	if v == nil {
		return unless(never)
	}
	once := map[string]bool{}
	for _, claim := range v.all {
		if slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteOncePod) {
			once[claim.Name] = true
		}
	}
	if len(once) == 0 {
		return nil
	}
	users := 0
	count := func(p *Pod, _ *Node, by int) {
		for _, name := range p.claims {
			if p.Namespace == r.Namespace && once[name] {
				users += by
			}
		}
	}
	for _, n := range r.cluster.Nodes {
		for _, p := range n.pods {
			count(p, n, 1)
		}
	}
	return &judgement{count: count, check: func(*Node) refusal {
		if users > 0 {
			return refuse("node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod")
		}
		return refusal{}
	}}
}

// zoneLabels are those by which a volume says where it is, if it does not by node affinity, and what they are on nodes now.
var zoneLabels = map[string]string{
	corev1.LabelTopologyZone: corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone: corev1.LabelTopologyZone,
	corev1.LabelTopologyRegion: corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
}

// volumeZone is about volumes that have the label of a zone or region: several of them with "__" between.
func volumeZone(r *request) *judgement {
	v, never := r.lookUp()
	if v == nil {
		return unless(never)
	}
	type at struct{ old, now, values string }
	var all []at
	for _, claim := range v.bound {
		if pv := v.Volume(claim.Spec.VolumeName); pv != nil {
			for old, now := range zoneLabels {
				if values, ok := pv.Labels[old]; ok {
					all = append(all, at{old, now, values})
				}
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &judgement{check: func(n *Node) refusal {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(zoneLabels)), func(key string) bool { _, ok := n.Object.Labels[key]; return ok }) {
			return refusal{} // a cluster without zones
		}
		for _, a := range all {
			value, ok := n.Object.Labels[a.old]
			if !ok {
				value, ok = n.Object.Labels[a.now]
			}
			if !ok || !slices.Contains(strings.Split(a.values, "__"), value) {
				return forever("node(s) had no available volume zone")
			}
		}
		return refusal{}
	}}
}

// volumeLimits is about how many volumes of a driver a node takes.
func volumeLimits(r *request) *judgement {
	v, never := r.lookUp()
	if v == nil {
		return unless(never)
	}
	mine := map[string]string{}
	v.drivers(r.Pod, mine)
	if len(mine) == 0 {
		return nil
	}
	return &judgement{check: func(n *Node) refusal {
		limits := v.Limits(n.Object.Name)
		if len(limits) == 0 {
			return refusal{}
		}
		all := map[string]string{}
		for _, p := range n.pods {
			v.drivers(p, all)
		}
		more := map[string]bool{}
		for volume, driver := range mine {
			if _, there := all[volume]; !there {
				all[volume], more[driver] = driver, true
			}
		}
		used := map[string]int{}
		for _, driver := range all {
			used[driver]++
		}
		for driver := range more {
			if limit, ok := limits[driver]; ok && used[driver] > limit {
				return refuse("node(s) exceed max volume count")
			}
		}
		return refusal{}
	}}
}

// drivers adds the drivers of the pod's volumes by volume, or, of those that are not there yet, by claim.
func (v *volumes) drivers(p *Pod, to map[string]string) {
	for _, name := range p.claims {
		claim := v.Claim(p.Namespace, name)
		if claim == nil {
			continue
		}
		if pv := v.Volume(claim.Spec.VolumeName); pv != nil {
			if csi := pv.Spec.CSI; csi != nil {
				to[csi.Driver+"/"+csi.VolumeHandle] = csi.Driver
			}
			continue
		}
		if class := v.Class(ClaimClass(claim)); class != nil && claim.Spec.VolumeName == "" {
			to[class.Provisioner+"/"+p.Namespace+"/"+name] = class.Provisioner
		}
	}
}
