package registry

import (
	"context"
	"math/rand"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/features"
)

// TestConversions: an object that an update leaves as it is comes out of upstream's types as it was, with all its fields; and to look
// at an object, as validation, warnings and tables do, does not change it.
func TestConversions(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), Codecs)
	converts(t, fill, configMaps())
	converts(t, fill, secrets())
	converts(t, fill, serviceAccounts())
	converts(t, fill, events())
	converts(t, fill, leases())
	converts(t, fill, nodes())
	converts(t, fill, namespaces())
	converts(t, fill, pods())
	converts(t, fill, podTemplates())
	converts(t, fill, replicationControllers())
	converts(t, fill, deployments())
	converts(t, fill, replicaSets())
	converts(t, fill, controllerRevisions())
	converts(t, fill, podDisruptionBudgets())
	converts(t, fill, ingresses())
	converts(t, fill, ingressClasses())
}

func converts[T object](t *testing.T, fill interface{ Fill(any) }, k *kind[T]) {
	t.Helper()
	for range 50 {
		obj := k.new()
		fill.Fill(obj)
		makeUsual(obj)
		Scheme.Default(obj)
		old, before := obj.DeepCopyObject().(T), obj.DeepCopyObject().(T)
		k.prepareUpdate(context.Background(), obj, old)
		if !equality.Semantic.DeepEqual(obj, before) || !equality.Semantic.DeepEqual(old, before) {
			t.Fatalf("%s: by way of upstream's type: %s", k.plural, diff.Diff(before, obj))
		}
		k.validate(context.Background(), obj)
		k.validateUpdate(context.Background(), obj, old)
		k.warn(obj, old)
		if _, err := k.print([]T{obj}); err != nil {
			t.Errorf("%s: %v", k.plural, err)
		}
		if !equality.Semantic.DeepEqual(obj, before) || !equality.Semantic.DeepEqual(old, before) {
			t.Fatalf("%s: looked at: %s", k.plural, diff.Diff(before, obj))
		}
	}
}

// makeUsual makes of an object that can have anything one that an update does not change.
func makeUsual(obj any) {
	switch o := obj.(type) {
	case *corev1.Node: // the first range has two names
		if o.Spec.PodCIDR = ""; len(o.Spec.PodCIDRs) > 0 {
			o.Spec.PodCIDR = o.Spec.PodCIDRs[0]
		}
	case *corev1.Secret:
		o.StringData = nil // for writing only
	case *corev1.ServiceAccount: // only the names count
		for i := range o.Secrets {
			o.Secrets[i] = corev1.ObjectReference{Name: o.Secrets[i].Name}
		}
	case *appsv1.Deployment: // of another type, what is not said becomes zero
		o.Spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	case *appsv1.ControllerRevision:
		o.Data.Raw = []byte(`{"a":"b"}`)
	}
}

// A field for writing only is read, and gone.
func TestSecretsInText(t *testing.T) {
	s := &corev1.Secret{StringData: map[string]string{"a": "b"}}
	secrets().prepare(context.Background(), s)
	if string(s.Data["a"]) != "b" || s.StringData != nil {
		t.Errorf("%+v", s)
	}
}

// TestFeatureGates: what upstream's rules ask whether it is on is as on a stock server of this release: no gate was set, and the
// release that is emulated is the one that is linked.
func TestFeatureGates(t *testing.T) {
	gates := utilfeature.DefaultMutableFeatureGate
	if emulated, linked := gates.EmulationVersion(), compatibility.DefaultBuildEffectiveVersion().EmulationVersion(); !emulated.EqualTo(linked) {
		t.Errorf("emulates %s, and is %s", emulated, linked)
	}
	for name, spec := range gates.GetAll() {
		if on := gates.Enabled(name); on != spec.Default {
			t.Errorf("%s is %v, which is not its default", name, on)
		}
	}
	if !gates.Enabled(features.PodLevelResources) || gates.Enabled(features.CoordinatedLeaderElection) {
		t.Error("the gates are not those of a stock server")
	}
}

// TestOldObjectsStay: a stored object that would be refused today can be changed in its other fields; what it has not may not come.
func TestOldObjectsStay(t *testing.T) {
	ctx := context.Background()
	old := &corev1.Pod{Spec: corev1.PodSpec{HostUsers: new(bool), Containers: []corev1.Container{{Name: "a", Image: "x",
		SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"NET_RAWW"}}}}}}}
	old.Name, old.Namespace, old.ResourceVersion = "a", "default", "1"
	Scheme.Default(old)
	now := old.DeepCopy()
	now.Labels = map[string]string{"a": "b"}
	now.Spec.Containers[0].Image = "y"
	k := pods()
	k.prepareUpdate(ctx, now, old)
	if errs := k.validateUpdate(ctx, now, old); len(errs) > 0 || now.Generation != old.Generation+1 {
		t.Errorf("generation %d, %v", now.Generation, errs)
	}
	set := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Template: corev1.PodTemplateSpec{Spec: old.Spec}}}
	more := set.DeepCopy()
	more.Spec.Template.Spec.SetHostnameAsFQDN, more.Spec.Template.Spec.EvictionResponders = new(bool), make([]corev1.EvictionResponder, 1)
	refuse := undone(func(rs *appsv1.ReplicaSet) *corev1.PodSpec { return &rs.Spec.Template.Spec }, "spec", "template", "spec")
	if errs := refuse(more, set); len(errs) != 1 || errs[0].Field != "spec.template.spec.evictionResponders" {
		t.Error(errs)
	}
}
