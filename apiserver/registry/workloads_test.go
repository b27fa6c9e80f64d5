package registry_test

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func workloadManifest(kind, spec string) string {
	return "{apiVersion: apps/v1, kind: " + kind + ", metadata: {name: x}, spec: {" + spec + "}}"
}

const webTemplate = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: 'x:1'}]}}"

func TestD20_WorkloadValidation(t *testing.T) {
	const selector = "selector: {matchLabels: {app: web}}, "
	refusals{
		{"no selector", workloadManifest("Deployment", webTemplate), "spec.selector: Required value"},
		{"empty selector", workloadManifest("Deployment", "selector: {}, "+webTemplate), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
		{"selector of others", workloadManifest("Deployment", "selector: {matchLabels: {app: db}}, "+webTemplate), "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"},
		{"selector of others in a set", workloadManifest("ReplicaSet", "selector: {matchLabels: {app: db}}, "+webTemplate), "`selector` does not match template `labels`"},
		{"bad selector", workloadManifest("Deployment", "selector: {matchExpressions: [{key: app, operator: Is}]}, "+webTemplate), `spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`},
		{"replicas", workloadManifest("Deployment", selector+"replicas: -1, "+webTemplate), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
		{"no containers", workloadManifest("Deployment", selector+"template: {metadata: {labels: {app: web}}}"), "spec.template.spec.containers: Required value"},
		{"restart policy", workloadManifest("Deployment", selector+"template: {metadata: {labels: {app: web}}, spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}"), `spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`},
		{"strategy", workloadManifest("Deployment", selector+"strategy: {type: Fast}, "+webTemplate), `spec.strategy: Unsupported value: {"Type":"Fast","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"`},
		{"recreate in steps", workloadManifest("Deployment", selector+"strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}, "+webTemplate), "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
		{"D30 both zero", workloadManifest("Deployment", selector+"strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}, "+webTemplate), "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"},
		{"percent", workloadManifest("Deployment", selector+"strategy: {rollingUpdate: {maxSurge: half}}, "+webTemplate), `spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an ending '%'`},
		{"over all", workloadManifest("Deployment", selector+"strategy: {rollingUpdate: {maxUnavailable: 101%}}, "+webTemplate), `spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%`},
		{"deadline", workloadManifest("Deployment", selector+"minReadySeconds: 10, progressDeadlineSeconds: 10, "+webTemplate), "spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds"},
		{"fine", workloadManifest("ReplicaSet", selector+webTemplate), ""},
	}.run(t, start(t))
}

func (s *server) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *parse[appsv1.DeploymentSpec](t, "{selector: {matchLabels: {app: web}}, "+webTemplate+"}")}
	d, err := s.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestD30_DeploymentDefaults(t *testing.T) {
	spec := start(t).deployment(t, "a").Spec
	rolling := spec.Strategy.RollingUpdate
	if *spec.Replicas != 1 || *spec.RevisionHistoryLimit != 10 || *spec.ProgressDeadlineSeconds != 600 || spec.MinReadySeconds != 0 ||
		spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || rolling.MaxSurge.StrVal != "25%" || rolling.MaxUnavailable.StrVal != "25%" {
		t.Errorf("%+v", spec)
	}
	pod := spec.Template.Spec
	if pod.RestartPolicy != corev1.RestartPolicyAlways || pod.Containers[0].ImagePullPolicy != corev1.PullIfNotPresent || pod.EnableServiceLinks != nil {
		t.Errorf("template: %+v", pod)
	}
}

func TestD32_GenerationCountsChangesOfTheSpecification(t *testing.T) {
	s := start(t)
	d := s.deployment(t, "a")
	if d.Generation != 1 {
		t.Errorf("new: %d", d.Generation)
	}
	d.Status.Replicas, d.Status.ReadyReplicas = 1, 1
	d.Spec.Replicas = ptr.To[int32](7)
	d, err := s.AppsV1().Deployments("default").UpdateStatus(t.Context(), d, metav1.UpdateOptions{})
	if err != nil || d.Generation != 1 || *d.Spec.Replicas != 1 || d.Status.ReadyReplicas != 1 {
		t.Errorf("after a status write: generation %d, %+v, %v", d.Generation, d.Spec.Replicas, err)
	}
	d.Labels, d.Status.ReadyReplicas = map[string]string{"a": "b"}, 0
	if d, err = s.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{}); err != nil || d.Generation != 1 || d.Status.ReadyReplicas != 1 {
		t.Errorf("after a label: generation %d, %+v, %v", d.Generation, d.Status, err)
	}
	d.Spec.Template.Spec.Containers[0].Image = "x:2"
	if d, err = s.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{}); err != nil || d.Generation != 2 {
		t.Errorf("after a change of the template: generation %d, %v", d.Generation, err)
	}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web", "b": "c"}}
	d.Spec.Template.Labels["b"] = "c"
	if _, err = s.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{}); !strings.HasSuffix(complaint(err), "field is immutable") || !strings.HasPrefix(complaint(err), "spec.selector: Invalid value: ") {
		t.Errorf("D20: %v", err)
	}
}

func TestD25_Scale(t *testing.T) {
	s := start(t)
	s.deployment(t, "web")
	s.must(t, "", "scale", "deployment", "web", "--replicas=2")
	columns(t, s.must(t, "", "get", "deployment", "web"), "NAME READY UP-TO-DATE AVAILABLE AGE", "web 0/2 0 0 *")
	deployments := s.AppsV1().Deployments("default")
	scale, err := deployments.GetScale(t.Context(), "web", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 2 || scale.Status.Selector != "app=web" {
		t.Fatalf("%+v, %v", scale, err)
	}
	d, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || d.Generation != 2 || d.UID != scale.UID || d.ResourceVersion != scale.ResourceVersion {
		t.Errorf("generation %d, %v", d.Generation, err)
	}
	scale.Spec.Replicas = 5
	if scale, err = deployments.UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}); err != nil || scale.Spec.Replicas != 5 {
		t.Fatalf("%+v, %v", scale, err)
	}
	scale.ResourceVersion = d.ResourceVersion
	if _, err := deployments.UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a stale scale: %v", err)
	}
	scale.ResourceVersion, scale.Spec.Replicas = "", -1
	if _, err := deployments.UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}); !strings.Contains(complaint(err), "spec.replicas: Invalid value: -1: must be greater than or equal to 0") {
		t.Errorf("fewer than none: %v", err)
	}
	if _, err := deployments.GetScale(t.Context(), "missing", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("of nothing: %v", err)
	}
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: *parse[appsv1.ReplicaSetSpec](t, "{selector: {matchLabels: {app: web}}, "+webTemplate+"}")}
	if _, err := s.AppsV1().ReplicaSets("default").Create(t.Context(), rs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "scale", "rs/web", "--replicas=3")
	columns(t, s.must(t, "", "get", "rs", "web", "-o", "wide"),
		"NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR", "web 3 0 0 * app x:1 app=web")
}

func TestScaleTakesTheOwnershipOfReplicas(t *testing.T) {
	s := start(t)
	manifest := workloadManifest("Deployment", "replicas: 1, selector: {matchLabels: {app: web}}, "+webTemplate)
	s.must(t, manifest, "apply", "--server-side", "--field-manager=mine", "-f", "-")
	s.must(t, "", "scale", "deployment", "x", "--replicas=4")
	if stderr := s.refused(t, manifest, "apply", "--server-side", "--field-manager=mine", "-f", "-"); !strings.Contains(stderr, ".spec.replicas") {
		t.Errorf("applying over a scale: %s", stderr)
	}
}

func TestStatusIsIgnoredByServerSideApplyOfTheObject(t *testing.T) {
	s := start(t)
	patch := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"x"}]}}},"status":{"replicas":9}}`)
	d, err := s.AppsV1().Deployments("default").Patch(context.Background(), "x", types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: "mine"})
	if err != nil || d.Status.Replicas != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, entry := range d.ManagedFields {
		if strings.Contains(entry.FieldsV1.GetRawString(), "f:status") {
			t.Errorf("%s owns the status", entry.Manager)
		}
	}
}

// TestMoreWorkloadKinds: kinds that charts bring beside Deployments take upstream's defaults, words and columns, and their scale.
func TestMoreWorkloadKinds(t *testing.T) {
	s := start(t)
	pods := "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: x}]}}"
	s.must(t, "{apiVersion: v1, kind: ReplicationController, metadata: {name: x}, spec: {"+pods+"}}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "rc", "-o", "wide"), "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR", "x 1 0 0 * a x app=web")
	s.must(t, "", "scale", "rc", "x", "--replicas=3")
	columns(t, s.must(t, "", "get", "rc", "--field-selector", "status.replicas=0"), "NAME DESIRED CURRENT READY AGE", "x 3 0 0 *")
	s.must(t, "{apiVersion: v1, kind: PodTemplate, metadata: {name: x}, "+pods+"}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "podtemplates"), "NAME CONTAINERS IMAGES POD LABELS", "x a x app=web")
	s.must(t, "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: x}, revision: 7, data: {a: b}}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "controllerrevisions"), "NAME CONTROLLER REVISION AGE", "x <none> 7 *")
	s.must(t, "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: x}, spec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}}", "create", "-f", "-")
	columns(t, s.must(t, "", "get", "pdb"), "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE", "x 50% N/A 0 *")
	refusals{
		{"selector of others", "{apiVersion: v1, kind: ReplicationController, metadata: {name: other}, spec: {selector: {app: other}, " + pods + "}}", "spec.template.metadata.labels: Invalid value"},
		{"what no node does", "{apiVersion: v1, kind: PodTemplate, metadata: {name: other}, template: {metadata: {labels: {a: b}}, spec: {hostUsers: false, containers: [{name: a, image: x}]}}}", "template.spec.hostUsers: Forbidden: user namespaces are not supported"},
		{"two budgets", "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: other}, spec: {minAvailable: 1, maxUnavailable: 1}}", "minAvailable and maxUnavailable cannot be both set"},
		{"negative revision", "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: other}, revision: -1, data: {a: b}}", "revision: Invalid value: -1"},
	}.run(t, s)
}
