package registry_test

import (
	"encoding/json"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestAutoscalersOfBothVersions: what is written as version 1 is read as version 2 and back, without a loss, watched as either, and
// printed as upstream does.
func TestAutoscalersOfBothVersions(t *testing.T) {
	s := start(t)
	s.must(t, deploymentManifest, "create", "-f", "-")
	watch, err := s.AutoscalingV1().HorizontalPodAutoscalers("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	s.must(t, "", "autoscale", "deployment", "web", "--min", "2", "--max", "5", "--cpu-percent", "80")
	two, err := s.AutoscalingV2().HorizontalPodAutoscalers("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || len(two.Spec.Metrics) != 1 || *two.Spec.Metrics[0].Resource.Target.AverageUtilization != 80 || *two.Spec.MinReplicas != 2 {
		t.Fatalf("%+v, %v", two, err)
	}
	if event := <-watch.ResultChan(); event.Object.(*autoscalingv1.HorizontalPodAutoscaler).Name != "web" {
		t.Errorf("%+v", event)
	}
	two.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32)}}
	if _, err := s.AutoscalingV2().HorizontalPodAutoscalers("default").Update(t.Context(), two, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	one, err := s.AutoscalingV1().HorizontalPodAutoscalers("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || *one.Spec.TargetCPUUtilizationPercentage != 80 || one.Annotations["autoscaling.alpha.kubernetes.io/behavior"] == "" {
		t.Fatalf("%+v, %v", one, err)
	}
	one.Spec.MaxReplicas = 7
	if _, err := s.AutoscalingV1().HorizontalPodAutoscalers("default").Update(t.Context(), one, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if two, err = s.AutoscalingV2().HorizontalPodAutoscalers("default").Get(t.Context(), "web", metav1.GetOptions{}); err != nil || two.Spec.MaxReplicas != 7 ||
		two.Spec.Behavior == nil || len(two.Annotations) != 0 {
		t.Errorf("%+v, %v", two, err)
	}
	columns(t, s.must(t, "", "get", "hpa"), "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE", "web Deployment/web cpu: <unknown>/80% 2 7 0 *")
	if got := s.must(t, "", "get", "--raw", "/apis/autoscaling"); !strings.Contains(got, `"preferredVersion":{"groupVersion":"autoscaling/v2"`) {
		t.Error(got)
	}
	for manifest, want := range map[string]string{
		"{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 3, maxReplicas: 2}}": "must be greater than or equal to `minReplicas`",
		"{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment}, maxReplicas: 2}}":                            "spec.scaleTargetRef.name: Required value",
	} {
		if got := s.refused(t, manifest, "create", "-f", "-"); !strings.Contains(got, want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

const deploymentManifest = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: x}]}}}}"

// TestApplyingAStatusAgainChangesNothing, as applying an object does.
func TestApplyingAStatusAgainChangesNothing(t *testing.T) {
	s := start(t)
	s.must(t, deploymentManifest, "create", "-f", "-")
	var versions []string
	for range 3 {
		body := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"status":{"conditions":[{"type":"Progressing","status":"True","reason":"A","message":"b"}]}}`
		d, err := s.AppsV1().Deployments("default").Patch(t.Context(), "web", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "m"}, "status")
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, d.ResourceVersion)
		past := metav1.NewTime(d.ManagedFields[len(d.ManagedFields)-1].Time.Add(-1e12))
		d.ManagedFields[len(d.ManagedFields)-1].Time = &past // as if time had passed
		if d, err = s.AppsV1().Deployments("default").Update(t.Context(), d, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		versions[len(versions)-1] = d.ResourceVersion
		if d, err = s.AppsV1().Deployments("default").Patch(t.Context(), "web", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "m"}, "status"); err != nil {
			t.Fatal(err)
		}
		if d.ResourceVersion != versions[len(versions)-1] {
			fields, _ := json.Marshal(d.ManagedFields)
			t.Errorf("version %s became %s: %s", versions[len(versions)-1], d.ResourceVersion, fields)
		}
	}
}

func TestNetworkPoliciesAndComponents(t *testing.T) {
	s := start(t)
	if _, stderr, err := s.kubectl(t, "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np}, spec: {podSelector: {}}}", "create", "-f", "-"); err != nil || stderr != "" {
		t.Errorf("%v %s", err, stderr)
	}
	columns(t, s.must(t, "", "get", "netpol"), "NAME POD-SELECTOR AGE", "np <none> *")
	columns(t, s.must(t, "", "get", "cs"), "NAME STATUS MESSAGE ERROR", "etcd-0 Healthy ok")
	if got := s.refused(t, "", "get", "cs", "scheduler"); !strings.Contains(got, "NotFound") {
		t.Error(got)
	}
}
