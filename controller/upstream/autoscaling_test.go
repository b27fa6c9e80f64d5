package upstream_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

const definition = `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: fleets.example.com}, spec: {group: example.com, scope: Namespaced, names: {plural: fleets, kind: Fleet}, versions: [{name: v1, served: true, storage: true,
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {spec: {type: object, properties: {replicas: {type: integer}}}, status: {type: object, properties: {replicas: {type: integer}, selector: {type: string}}}}}},
  subresources: {scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}}]}}`

// TestAutoscalersScaleWhateverHasAScale: with no less than two replicas everything that has one gets a second, whether metrics are known
// or not, which the status says.
func TestAutoscalersScaleWhateverHasAScale(t *testing.T) {
	c := start(t)
	c.create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
	served := c.CoreV1().RESTClient().Get().AbsPath("/apis/example.com/v1/namespaces/default/fleets")
	eventually(t, func() bool { return served.Do(t.Context()).Error() == nil })
	pods := strings.ReplaceAll(template, "app: a", "app: APP")
	targets := map[string]string{ // paths
		"Deployment apps/v1":       "/apis/apps/v1/namespaces/default/deployments",
		"ReplicaSet apps/v1":       "/apis/apps/v1/namespaces/default/replicasets",
		"StatefulSet apps/v1":      "/apis/apps/v1/namespaces/default/statefulsets",
		"ReplicationController v1": "/api/v1/namespaces/default/replicationcontrollers",
		"Fleet example.com/v1":     "/apis/example.com/v1/namespaces/default/fleets",
	}
	for target, path := range targets {
		kind, version, _ := strings.Cut(target, " ")
		name := strings.ToLower(kind)
		spec := strings.ReplaceAll(pods, "APP", name)
		if kind == "ReplicationController" {
			spec = strings.Replace(spec, "{matchLabels: {app: "+name+"}}", "{app: "+name+"}", 1)
		}
		c.create(t, path, "{apiVersion: "+version+", kind: "+kind+", metadata: {name: "+name+"}, spec: {replicas: 1, "+spec+"}, status: {selector: app="+name+"}}")
		c.create(t, "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: "+name+"}, spec: {minReplicas: 2, maxReplicas: 4, "+
			"scaleTargetRef: {apiVersion: "+version+", kind: "+kind+", name: "+name+"}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}")
	}
	for target, path := range targets {
		kind, _, _ := strings.Cut(target, " ")
		name := strings.ToLower(kind)
		apitest.Eventually(t, func() string {
			raw, err := c.CoreV1().RESTClient().Get().AbsPath(path+"/"+name+"/scale").SetHeader("Accept", "application/json").Do(t.Context()).Raw()
			var s autoscalingv1.Scale
			if err == nil && json.Unmarshal(raw, &s) == nil && s.Spec.Replicas == 2 {
				return ""
			}
			a, aerr := c.AutoscalingV2().HorizontalPodAutoscalers("default").Get(t.Context(), name, metav1.GetOptions{})
			return fmt.Sprintf("%s: %s, %v; %+v, %v", kind, raw, err, a.Status, aerr)
		})
	}
	eventually(t, func() bool {
		a, err := c.AutoscalingV2().HorizontalPodAutoscalers("default").Get(t.Context(), "deployment", metav1.GetOptions{})
		return err == nil && condition(a, autoscalingv2.AbleToScale) == corev1.ConditionTrue
	})
}

func condition(a *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType) corev1.ConditionStatus {
	for _, c := range a.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}
