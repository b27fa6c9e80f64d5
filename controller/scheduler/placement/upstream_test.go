package placement

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	schedulercache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	schedulerqueue "k8s.io/kubernetes/pkg/scheduler/backend/queue"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultpreemption"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	"k8s.io/kubernetes/pkg/scheduler/framework/preemption"
	schedulerruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

// scene is a generated cluster, and a pod that looks for a node.
type scene struct {
	nodes      []*corev1.Node
	pods       []*corev1.Pod // on nodes
	pod        *corev1.Pod
	namespaces []*corev1.Namespace
	sets       []*appsv1.ReplicaSet
	budgets    []*policyv1.PodDisruptionBudget
	claims     []*corev1.PersistentVolumeClaim
	volumes    []*corev1.PersistentVolume
	classes    []*storagev1.StorageClass
}

// dice throws.
type dice struct{ *rand.Rand }

func (d dice) one(in int) bool { return d.IntN(in) == 0 }

func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

var (
	apps       = []string{"web", "db", "cache"}
	spaces     = []string{"red", "blue"}
	topologies = []string{corev1.LabelHostname, corev1.LabelTopologyZone, "rack"}
)

func (d dice) scene() *scene {
	s := &scene{}
	for _, space := range spaces {
		s.namespaces = append(s.namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space, Labels: map[string]string{"team": space}}})
		for _, app := range apps {
			s.sets = append(s.sets, &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: space, UID: types.UID(space + app)},
				Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}})
		}
	}
	for i := range 2 + d.IntN(9) {
		s.nodes = append(s.nodes, d.node(fmt.Sprintf("n%02d", i)))
	}
	d.storage(s)
	used := map[string]bool{}
	for i := range d.IntN(10 * len(s.nodes)) {
		p := d.pod(fmt.Sprint("p", i), s)
		for _, name := range claimsOf(p) {
			if key := p.Namespace + "/" + name; used[key] { // it may be for one pod at a time
				p.Spec.Volumes = nil
			} else {
				used[key] = true
			}
		}
		p.Spec.NodeName = pick(d, s.nodes...).Name
		for _, port := range portsOf(p) {
			if key := fmt.Sprint(p.Spec.NodeName, port.port); used[key] {
				p.Spec.Containers[0].Ports = nil
			} else {
				used[key] = true
			}
		}
		p.Status.StartTime = &metav1.Time{Time: time.Unix(1e9+int64(i), 0)} // of two that began at once either may leave
		if d.one(10) {
			p.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)}
		}
		s.pods = append(s.pods, p)
	}
	s.pod = d.pod("it", s)
	if len(s.pod.Spec.TopologySpreadConstraints) > 0 { // upstream counts a pod that is leaving as one less when it tries without it
		for _, p := range s.pods {
			p.DeletionTimestamp = nil
		}
	}
	for i := range d.IntN(3) {
		s.budgets = append(s.budgets, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("b", i), Namespace: pick(d, spaces...)},
			Spec:   policyv1.PodDisruptionBudgetSpec{Selector: d.selector()},
			Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: int32(d.IntN(3))}})
	}
	return s
}

func (d dice) node(name string) *corev1.Node {
	n := node(name)
	if !d.one(5) {
		n.Labels[corev1.LabelTopologyZone] = pick(d, "z1", "z2", "z3")
	}
	if d.one(2) {
		n.Labels["rack"] = pick(d, "r1", "r2", "r3", "r4")
	}
	if d.one(4) {
		n.Labels["disk"] = "ssd"
	}
	n.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse(pick(d, "1", "2", "4"))
	n.Status.Allocatable[corev1.ResourceMemory] = resource.MustParse(pick(d, "2Gi", "4Gi"))
	n.Status.Allocatable["example.com/gpu"] = resource.MustParse(pick(d, "0", "2"))
	n.Status.Allocatable[corev1.ResourceEphemeralStorage] = resource.MustParse("5Gi")
	n.Spec.Unschedulable = d.one(12)
	if d.one(5) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: pick(d, "k1", "k2"), Value: pick(d, "v", "w"),
			Effect: pick(d, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)})
	}
	if d.one(2) {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{"reg/" + pick(d, apps...) + ":latest"}, SizeBytes: int64(d.IntN(2000)) << 20})
	}
	return n
}

func (d dice) selector() *metav1.LabelSelector {
	s := &metav1.LabelSelector{MatchLabels: map[string]string{"app": pick(d, apps...)}}
	if d.one(6) {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{pick(d, apps...)}}}}
	}
	return s
}

func (d dice) term() corev1.PodAffinityTerm {
	t := corev1.PodAffinityTerm{LabelSelector: d.selector(), TopologyKey: pick(d, topologies...)}
	switch d.IntN(5) {
	case 0:
		t.Namespaces = []string{pick(d, spaces...)}
	case 1:
		t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": pick(d, spaces...)}}
	case 2:
		t.NamespaceSelector = &metav1.LabelSelector{}
	}
	return t
}

func (d dice) terms() (out []corev1.PodAffinityTerm) {
	for range d.IntN(3) {
		out = append(out, d.term())
	}
	return out
}

func (d dice) weighted() (out []corev1.WeightedPodAffinityTerm) {
	for range d.IntN(3) {
		out = append(out, corev1.WeightedPodAffinityTerm{Weight: int32(1 + d.IntN(100)), PodAffinityTerm: d.term()})
	}
	return out
}

func (d dice) pod(name string, s *scene) *corev1.Pod {
	space, app := pick(d, spaces...), pick(d, apps...)
	p := pod(name, space+app)
	p.Namespace = space
	p.Labels = map[string]string{"app": app, "version": pick(d, "1", "2")}
	p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name, p.OwnerReferences[0].APIVersion = "ReplicaSet", app, "apps/v1"
	p.Spec.Priority = new(int32(pick(d, 0, 0, 10, 20)))
	if name == "it" {
		p.Spec.Priority = new(int32(pick(d, 0, 10, 20, 30)))
	}
	p.Spec.Containers[0].Image = "reg/" + app
	requests := corev1.ResourceList{}
	if !d.one(3) {
		requests[corev1.ResourceCPU] = resource.MustParse(pick(d, "0", "100m", "500m", "1"))
	}
	if !d.one(3) {
		requests[corev1.ResourceMemory] = resource.MustParse(pick(d, "10Mi", "500Mi", "1Gi"))
	}
	if d.one(8) {
		requests["example.com/gpu"] = resource.MustParse("1")
	}
	if d.one(8) {
		requests[corev1.ResourceEphemeralStorage] = resource.MustParse("2Gi")
	}
	p.Spec.Containers[0].Resources.Requests = requests
	if d.one(8) {
		p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")}
	}
	if d.one(8) {
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "reg/db", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("700m")}}}}
	}
	if d.one(8) {
		port(pick(d, "", "10.0.0.1"), corev1.ProtocolTCP, int32(80+d.IntN(2)))(p)
	}
	if d.one(4) {
		toleration(corev1.Toleration{Key: "k1", Operator: corev1.TolerationOpExists, Effect: pick(d, "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule)})(p)
	}
	if d.one(8) {
		p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	}
	d.wishes(p)
	if d.one(5) {
		claim := space + fmt.Sprint(d.IntN(4)) // for upstream a claim of this name in another namespace is the same when somebody leaves
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	}
	return p
}

func (d dice) wishes(p *corev1.Pod) {
	if d.one(3) {
		p.Spec.Affinity = &corev1.Affinity{}
		if d.one(2) {
			p.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
				{Weight: int32(1 + d.IntN(50)), Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"ssd"}}}}}}}
		}
		if d.one(2) {
			p.Spec.Affinity.PodAffinity = &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: d.weighted()}
			if d.one(3) {
				p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = d.terms()
			}
		}
		if d.one(2) {
			p.Spec.Affinity.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: d.terms(), PreferredDuringSchedulingIgnoredDuringExecution: d.weighted()}
		}
	}
	if !d.one(3) {
		return
	}
	for range 1 + d.IntN(2) {
		c := corev1.TopologySpreadConstraint{MaxSkew: int32(1 + d.IntN(3)), TopologyKey: pick(d, topologies...), LabelSelector: d.selector(),
			WhenUnsatisfiable: pick(d, corev1.DoNotSchedule, corev1.ScheduleAnyway)}
		if d.one(3) {
			c.MatchLabelKeys = []string{"version"}
		}
		if d.one(3) && c.WhenUnsatisfiable == corev1.DoNotSchedule {
			c.MinDomains = new(int32(1 + d.IntN(4)))
		}
		if d.one(3) {
			c.NodeAffinityPolicy = new(pick(d, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore))
		}
		if d.one(3) {
			c.NodeTaintsPolicy = new(pick(d, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore))
		}
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c)
	}
}

// storage gives each namespace four claims, of which one may not be there: bound and unbound ones, some for one pod at a time.
func (d dice) storage(s *scene) {
	s.classes = []*storagev1.StorageClass{
		{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Provisioner: "example.com/p", VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)},
		{ObjectMeta: metav1.ObjectMeta{Name: "byhand"}, Provisioner: noProvisioner, VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)},
		{ObjectMeta: metav1.ObjectMeta{Name: "zonal"}, Provisioner: "example.com/p", VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
			AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: corev1.LabelTopologyZone, Values: []string{"z1", "z2"}}}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "now"}, Provisioner: "example.com/p", VolumeBindingMode: new(storagev1.VolumeBindingImmediate)},
	}
	volume := func(name, class, node string) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{StorageClassName: class,
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(pick(d, "1Gi", "2Gi"))},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteOncePod},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
		if d.one(4) {
			v.Labels = map[string]string{corev1.LabelTopologyZone: "z1__z2"}
		}
		s.volumes = append(s.volumes, v)
		return v
	}
	for i := range d.IntN(4) {
		volume(fmt.Sprint("free", i), pick(d, "byhand", "later"), pick(d, s.nodes...).Name)
	}
	for _, space := range spaces {
		for i := range 4 {
			if d.one(8) {
				continue
			}
			c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: space + fmt.Sprint(i), Namespace: space, UID: types.UID(space + fmt.Sprint(i))},
				Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new(pick(d, "later", "byhand", "zonal", "now")),
					AccessModes: []corev1.PersistentVolumeAccessMode{pick(d, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(pick(d, "1Gi", "2Gi"))}}}}
			if d.one(2) {
				v := volume("of-"+c.Name, *c.Spec.StorageClassName, pick(d, s.nodes...).Name)
				c.Spec.VolumeName, c.Annotations = v.Name, map[string]string{"pv.kubernetes.io/bind-completed": "yes"}
				v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: space, Name: c.Name, UID: c.UID}
			} else if d.one(6) {
				c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": pick(d, s.nodes...).Name}
			}
			s.claims = append(s.claims, c)
		}
	}
}

// ours is the scene as our rules see it.
func (s *scene) ours() *Cluster {
	byName := map[string]*Node{}
	var nodes []*Node
	for _, n := range s.nodes {
		byName[n.Name] = NewNode(n)
		nodes = append(nodes, byName[n.Name])
	}
	for _, p := range s.pods {
		byName[p.Spec.NodeName].Put(NewPod(p))
	}
	c := clusterOf(nodes)
	find := func(name string) *corev1.PersistentVolume {
		i := slices.IndexFunc(s.volumes, func(v *corev1.PersistentVolume) bool { return v.Name == name })
		if i < 0 {
			return nil
		}
		return s.volumes[i]
	}
	c.Storage = &Storage{Volume: find,
		Claim: func(namespace, name string) *corev1.PersistentVolumeClaim {
			for _, c := range s.claims {
				if c.Namespace == namespace && c.Name == name {
					return c
				}
			}
			return nil
		},
		Volumes: func(class string) (out []*corev1.PersistentVolume) {
			for _, v := range s.volumes {
				if v.Spec.StorageClassName == class {
					out = append(out, v)
				}
			}
			return out
		},
		Class: func(name string) *storagev1.StorageClass {
			for _, c := range s.classes {
				if c.Name == name {
					return c
				}
			}
			return nil
		},
		Limits: func(string) map[string]int { return nil },
	}
	return c
}

// theirs is upstream's scheduler in the scene.
type theirs struct {
	framework.Framework
	state    fwk.CycleState
	snapshot *schedulercache.Snapshot
}

// upstream is a framework with the plugins of our tables.
func (s *scene) upstream(t *testing.T, ctx context.Context) theirs {
	t.Helper()
	var objects []runtime.Object
	add := func(o runtime.Object) { objects = append(objects, o) }
	for _, o := range s.namespaces {
		add(o)
	}
	for _, o := range s.sets {
		add(o)
	}
	for _, o := range s.claims {
		add(o)
	}
	for _, o := range s.volumes {
		add(o)
	}
	for _, o := range s.classes {
		add(o)
	}
	shared := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	defaults, err := latest.Default()
	if err != nil {
		t.Fatal(err)
	}
	profile := defaults.Profiles[0]
	names := map[string]bool{"NodeName": true, "PrioritySort": true, "DefaultBinder": true}
	for _, f := range filters {
		names[f.name] = true
	}
	for _, sc := range scorers {
		names[sc.name] = true
	}
	profile.Plugins.MultiPoint.Enabled = slices.DeleteFunc(profile.Plugins.MultiPoint.Enabled, func(p config.Plugin) bool { return !names[p.Name] })
	snapshot := schedulercache.NewSnapshot(s.pods, s.nodes)
	f, err := schedulerruntime.NewFramework(ctx, plugins.NewInTreeRegistry(), &profile,
		schedulerruntime.WithInformerFactory(shared), schedulerruntime.WithSnapshotSharedLister(snapshot), schedulerruntime.WithMutableSnapshotLister(snapshot),
		schedulerruntime.WithPodNominator(schedulerqueue.NewSchedulingQueue(nil, shared)),
		schedulerruntime.WithSharedCSIManager(nodevolumelimits.NewCSIManager(shared.Storage().V1().CSINodes().Lister())))
	if err != nil {
		t.Fatal(err)
	}
	shared.Start(ctx.Done())
	shared.WaitForCacheSync(ctx.Done())
	return theirs{f, framework.NewCycleState(), snapshot}
}

// words are upstream's reasons in ours, which name the taint.
func words(reasons []string) []string {
	out := slices.Clone(reasons)
	for i, r := range out {
		if strings.HasPrefix(r, "node(s) had untolerated taint") {
			out[i] = "node(s) had untolerated taint"
		}
	}
	slices.Sort(out)
	return out
}

// scenes is how many clusters are generated.
const scenes = 300

// Generated clusters: upstream's plugins and our rules refuse the same nodes with the same words, give every other node the same
// points, rule by rule, and have the same pods leave.
func TestAsUpstream(t *testing.T) {
	metrics.Register()
	fitting, refused, preempted := 0, 0, 0
	for seed := range scenes {
		d := dice{rand.New(rand.NewPCG(uint64(seed), 1))}
		s := d.scene()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ctx := t.Context()
			u, c := s.upstream(t, ctx), s.ours()
			r := ask(s.pod, c)
			_, status, _ := u.RunPreFilterPlugins(ctx, u.state, s.pod)
			if !status.IsSuccess() {
				if r.never == "" || status.Message() != r.never {
					t.Errorf("upstream refuses all nodes: %q, we: %q", status.Message(), r.never)
				}
				return
			}
			if r.never != "" {
				t.Fatalf("we refuse all nodes: %s", r.never)
			}
			var good []*Node
			var infos, rest []fwk.NodeInfo
			for _, n := range c.Nodes {
				info, err := u.snapshot.Get(n.Object.Name)
				if err != nil {
					t.Fatal(err)
				}
				want, got := u.RunFilterPlugins(ctx, u.state, s.pod, info), r.judge(n)
				if want == nil {
					want = fwk.NewStatus(fwk.Success)
				}
				if a, b := words(want.Reasons()), words(got.reasons); !slices.Equal(a, b) {
					t.Errorf("node %s: upstream %q, we %q", n.Object.Name, a, b)
				}
				if final := want.Code() == fwk.UnschedulableAndUnresolvable; final != got.final {
					t.Errorf("node %s, %q: final for upstream: %v, for us: %v", n.Object.Name, want.Reasons(), final, got.final)
				}
				if want.IsSuccess() {
					good, infos = append(good, n), append(infos, info)
				} else if !got.final {
					rest = append(rest, info)
				}
			}
			fitting, refused = fitting+len(good), refused+len(c.Nodes)-len(good)
			if len(good) > 0 {
				u.compare(t, r, good, infos)
			} else if len(rest) > 0 && u.samePreemption(t, s, r, rest) {
				preempted++
			}
		})
	}
	t.Logf("%d nodes fitted, %d did not, %d pods found room by others leaving", fitting, refused, preempted)
	if fitting == 0 || refused == 0 || preempted == 0 {
		t.Error("the generated clusters do not show everything")
	}
}

// compare holds the points of the nodes against upstream's.
func (u theirs) compare(t *testing.T, r *request, nodes []*Node, infos []fwk.NodeInfo) {
	if status := u.RunPreScorePlugins(t.Context(), u.state, r.object, infos); !status.IsSuccess() {
		t.Fatal(status)
	}
	want, status := u.RunScorePlugins(t.Context(), u.state, r.object, infos)
	if !status.IsSuccess() {
		t.Fatal(status)
	}
	mine := map[string][]int64{}
	for _, sc := range scorers {
		points := make([]int64, len(nodes))
		if sc.score(r, nodes, points) {
			mine[sc.name] = points
		}
	}
	for i, n := range want {
		for _, score := range n.Scores {
			points, ok := mine[score.Name]
			if !ok { // no say: upstream gives all nodes the same
				for k := range want {
					for _, other := range want[k].Scores {
						if other.Name == score.Name && other.Score != score.Score {
							t.Errorf("%s makes a difference for upstream, none for us", score.Name)
						}
					}
				}
				continue
			}
			for _, sc := range scorers {
				if sc.name == score.Name && sc.weight*points[i] != score.Score {
					t.Errorf("node %s, %s: upstream %d, we %d", n.Name, score.Name, score.Score, sc.weight*points[i])
				}
			}
		}
	}
}

// samePreemption holds who has to leave against upstream's; it reports whether somebody has to.
func (u theirs) samePreemption(t *testing.T, s *scene, r *request, infos []fwk.NodeInfo) bool {
	args := &config.DefaultPreemptionArgs{MinCandidateNodesPercentage: 100, MinCandidateNodesAbsolute: 1000}
	pl, err := defaultpreemption.New(t.Context(), args, u.Framework, feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate))
	if err != nil {
		t.Fatal(err)
	}
	candidates, _, err := pl.Evaluator.DryRunPreemption(t.Context(), u.state, s.pod, infos, s.budgets, 0, int32(len(infos)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]preemption.Candidate{}
	for _, candidate := range candidates {
		want[candidate.Name()] = candidate
	}
	var parsed []budget
	for _, b := range s.budgets {
		parsed = append(parsed, budget{b, selectorOf(b.Spec.Selector)})
	}
	got := map[string]*Preemption{}
	for _, info := range infos {
		i := slices.IndexFunc(r.cluster.Nodes, func(n *Node) bool { return n.Object.Name == info.Node().Name })
		if found, _ := r.makeRoom(r.cluster.Nodes[i], parsed); found != nil {
			got[found.Node] = found
		}
	}
	if a, b := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(a, b) {
		t.Errorf("upstream makes room on %v, we on %v", a, b)
		return false
	}
	for name, candidate := range want {
		var a, b []string
		for _, p := range candidate.Victims().Pods {
			a = append(a, p.Name)
		}
		for _, p := range got[name].Victims {
			b = append(b, p.Name)
		}
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) || int(candidate.Victims().NumPDBViolations) != got[name].broken {
			t.Errorf("node %s: upstream has %v leave, we %v; budgets broken: %d, %d", name, a, b, candidate.Victims().NumPDBViolations, got[name].broken)
		}
	}
	if len(want) == 0 {
		return false
	}
	chosen := pl.Evaluator.SelectCandidate(t.Context(), candidates).Name()
	for _, other := range got {
		if other.compare(got[chosen]) < 0 {
			t.Errorf("upstream chooses %s, for us %s is better", chosen, other.Node)
		}
	}
	return true
}
