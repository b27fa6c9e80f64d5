package workload_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// bench is a namespace of the server with an agent in it.
type bench struct {
	*testing.T
	client kubernetes.Interface
	ns     string
	agent  *agent
}

func newBench(t *testing.T, client kubernetes.Interface, ns string) *bench {
	t.Helper()
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, client: client, ns: ns, agent: newAgent(t, client, ns)}
}

// deploy creates Deployment web and waits until it is complete.
func (b *bench) deploy(replicas int32, change func(*appsv1.Deployment)) {
	b.Helper()
	l := map[string]string{"app": "web"}
	one, two, patience := intstr.FromInt32(1), intstr.FromInt32(2), int32(600)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: b.ns},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, ProgressDeadlineSeconds: &patience, Selector: &metav1.LabelSelector{MatchLabels: l},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &two, MaxUnavailable: &one}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: l},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "v1"}}}},
		},
	}
	if change != nil {
		change(d)
	}
	if _, err := b.client.AppsV1().Deployments(b.ns).Create(b.Context(), d, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	apitest.Eventually(b.T, b.complete)
}

// complete says what keeps Deployment web from being rolled out: its status, or a
// pod with another image.
func (b *bench) complete() string {
	b.Helper()
	if why := rolledOut(b.T, b.client, b.ns, "web"); why != "" {
		return why
	}
	d, err := b.client.AppsV1().Deployments(b.ns).Get(b.Context(), "web", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range b.pods() {
		if metav1.GetControllerOf(&p) != nil && p.Spec.Containers[0].Image != d.Spec.Template.Spec.Containers[0].Image {
			return "pod " + p.Name + " still runs " + p.Spec.Containers[0].Image
		}
	}
	return ""
}

// patch applies a strategic merge patch to Deployment web.
func (b *bench) patch(patch string) {
	b.Helper()
	if _, err := b.client.AppsV1().Deployments(b.ns).Patch(b.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) image(image string) {
	b.Helper()
	b.patch(fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":%q}]}}}}`, image))
}

// pods are the namespace's pods that are not terminating.
func (b *bench) pods() []corev1.Pod {
	b.Helper()
	list, err := b.client.CoreV1().Pods(b.ns).List(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var out []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out
}

func (b *bench) sets() []appsv1.ReplicaSet {
	b.Helper()
	list, err := b.client.AppsV1().ReplicaSets(b.ns).List(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return list.Items
}

func TestController(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	stop := controllers(t, client)
	for name, test := range map[string]func(*bench){
		"deploy": deployOfThree, "replace": deletedPodsAreReplacedOnce, "scale": scaleUpAndDown,
		"update": rollingUpdate, "undo": undo, "adopt": adoptAndRelease, "recreate": recreate,
	} {
		t.Run(name, func(t *testing.T) { test(newBench(t, client, name)) })
	}
	stop()
	t.Run("restart", func(t *testing.T) { restarts(newBench(t, client, "restart")) })
}

func deployOfThree(b *bench) {
	b.deploy(3, nil)
	sets := b.sets()
	if len(sets) != 1 || len(b.pods()) != 3 {
		b.Fatalf("%d sets, %d pods", len(sets), len(b.pods()))
	}
	for _, p := range b.pods() {
		if !strings.HasPrefix(p.Name, sets[0].Name+"-") || len(p.Name) != len(sets[0].Name)+6 || p.Labels["pod-template-hash"] == "" {
			b.Errorf("pod %s, labels %v", p.Name, p.Labels)
		}
	}
	want := map[string]bool{"Scaled up replica set " + sets[0].Name + " from 0 to 3": true, "Created pod: " + b.pods()[0].Name: true}
	apitest.Eventually(b.T, func() string {
		events, err := b.client.CoreV1().Events(b.ns).List(b.Context(), metav1.ListOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events.Items {
			delete(want, e.Message)
		}
		if len(want) > 0 {
			return fmt.Sprintf("missing events: %v", want)
		}
		return ""
	})
}

// All pods deleted in one command: each is replaced exactly once (rule D22).
func deletedPodsAreReplacedOnce(b *bench) {
	b.deploy(3, nil)
	before := b.agent.begin()
	if err := b.client.CoreV1().Pods(b.ns).DeleteCollection(b.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		b.Fatal(err)
	}
	apitest.Eventually(b.T, func() string {
		if made, _, _ := b.agent.observed(); made < before+3 {
			return fmt.Sprintf("%d pods made, want %d", made, before+3)
		}
		return b.complete()
	})
	if made, most, _ := b.agent.observed(); made != before+3 || most > 3 || len(b.pods()) != 3 {
		b.Errorf("%d pods made for 3 deleted, at most %d alive, %d now", made-before, most, len(b.pods()))
	}
}

func scaleUpAndDown(b *bench) {
	b.deploy(2, nil)
	for _, n := range []int{20, 1, 0, 3} {
		before := b.agent.begin()
		had := len(b.pods())
		b.patch(fmt.Sprintf(`{"spec":{"replicas":%d}}`, n))
		apitest.Eventually(b.T, b.complete)
		apitest.Eventually(b.T, func() string {
			if len(b.pods()) != n {
				return fmt.Sprintf("%d pods, want %d", len(b.pods()), n)
			}
			return ""
		})
		if made, _, _ := b.agent.observed(); made-before != max(0, n-had) {
			b.Errorf("scaling %d -> %d made %d pods", had, n, made-before)
		}
	}
	if len(b.sets()) != 1 {
		b.Errorf("%d replica sets, want 1", len(b.sets()))
	}
}

func rollingUpdate(b *bench) {
	b.deploy(6, nil) // surge 2, unavailable 1
	before := b.agent.begin()
	b.image("v2")
	apitest.Eventually(b.T, b.complete)
	if made, most, fewest := b.agent.observed(); made-before != 6 || most > 8 || fewest < 5 {
		b.Errorf("%d pods made, at most %d alive, at least %d ready; want 6, 8, 5", made-before, most, fewest)
	}
	b.agent.freeze(true) // the next revision never becomes ready
	b.image("v3")
	apitest.Eventually(b.T, func() string {
		for _, rs := range b.sets() {
			if rs.Spec.Template.Spec.Containers[0].Image == "v3" && rs.Status.Replicas == 3 {
				return ""
			}
		}
		return "the broken revision does not have its 3 pods (2 surge, 1 unavailable)"
	})
	b.agent.freeze(false)
	b.image("v4")
	apitest.Eventually(b.T, b.complete)
}

func undo(b *bench) {
	b.deploy(2, nil)
	b.image("v2")
	apitest.Eventually(b.T, b.complete)
	b.image("v1")
	apitest.Eventually(b.T, b.complete)
	revisions := map[string]string{}
	for _, rs := range b.sets() {
		revisions[rs.Spec.Template.Spec.Containers[0].Image] = rs.Annotations["deployment.kubernetes.io/revision"]
	}
	d, err := b.client.AppsV1().Deployments(b.ns).Get(b.Context(), "web", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if fmt.Sprint(revisions) != "map[v1:3 v2:2]" || d.Annotations["deployment.kubernetes.io/revision"] != "3" || d.Generation != 3 {
		b.Errorf("revisions %v, deployment %v of generation %d", revisions, d.Annotations, d.Generation)
	}
}

// A pod relabelled away is replaced, and taken back when the label returns (rule D21).
func adoptAndRelease(b *bench) {
	b.deploy(2, nil)
	name := b.pods()[0].Name
	label := func(v string) {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"app":%q}}}`, v)
		if _, err := b.client.CoreV1().Pods(b.ns).Patch(b.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	label("debug")
	apitest.Eventually(b.T, func() string {
		p, err := b.client.CoreV1().Pods(b.ns).Get(b.Context(), name, metav1.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if len(p.OwnerReferences) != 0 || len(b.pods()) != 3 {
			return fmt.Sprintf("owners %v, %d pods; want none and 3", p.OwnerReferences, len(b.pods()))
		}
		return ""
	})
	label("web")
	apitest.Eventually(b.T, func() string {
		if n := len(b.pods()); n != 2 {
			return fmt.Sprintf("%d pods, want 2", n)
		}
		return ""
	})
	for _, p := range b.pods() {
		if metav1.GetControllerOf(&p) == nil {
			b.Errorf("pod %s was not adopted", p.Name)
		}
	}
}

func recreate(b *bench) {
	b.deploy(3, func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	})
	b.agent.begin()
	b.image("v2")
	apitest.Eventually(b.T, b.complete)
	if _, most, fewest := b.agent.observed(); most > 3 || fewest != 0 {
		b.Errorf("at most %d alive, at least %d; want 3 and 0", most, fewest)
	}
}

// Controllers that are stopped and started anew in the middle of their work, with
// new caches, create nothing twice.
func restarts(b *bench) {
	stop := controllers(b.T, b.client)
	b.deploy(1, nil)
	for round, n := range []int{12, 24, 36} {
		before := b.agent.begin()
		b.patch(fmt.Sprintf(`{"spec":{"replicas":%d}}`, n))
		for end := time.Now().Add(time.Minute); time.Now().Before(end); { // stop as soon as some, but not all, are made
			if made, _, _ := b.agent.observed(); made > before {
				break
			}
		}
		stop()
		stop = controllers(b.T, b.client)
		apitest.Eventually(b.T, b.complete)
		if made, most, _ := b.agent.observed(); made != n || most != n {
			b.Fatalf("round %d: %d pods ever made, at most %d alive; want %d", round, made, most, n)
		}
	}
	stop()
}
