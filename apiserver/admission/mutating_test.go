package admission_test

import (
	"encoding/json"
	"errors"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	registration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// TestMutatingWebhook changes a pod before anything is validated, and what is made of its change is asked again.
func TestMutatingWebhook(t *testing.T) {
	client, config, _ := startHooked(t)
	patch := func(ops string) *admissionv1.AdmissionResponse {
		kind := admissionv1.PatchTypeJSONPatch
		return &admissionv1.AdmissionResponse{Allowed: true, Patch: []byte(ops), PatchType: &kind}
	}
	h := serveHooks(t, func(path string, asked *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		var o struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     corev1.PodSpec    `json:"spec"`
		}
		if err := json.Unmarshal(asked.Object.Raw, &o); err != nil {
			return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: err.Error()}}
		}
		switch {
		case path == "count" && o.Metadata.Labels["count"] == "":
			return patch(`[{"op": "add", "path": "/metadata/labels", "value": {"count": "one"}}]`)
		case path == "count" && asked.Kind.Kind == "Pod" && len(o.Spec.InitContainers) > 0:
			return patch(`[{"op": "replace", "path": "/metadata/labels/count", "value": "again"}]`)
		case path == "inject" && asked.Kind.Kind == "Pod" && len(o.Spec.InitContainers) == 0:
			return patch(`[{"op": "add", "path": "/spec/initContainers", "value": [{"name": "init", "image": "i"}]}]`)
		case path == "spoil":
			return patch(`[{"op": "test", "path": "/kind", "value": "Lamp"}]`)
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	none, again := registration.SideEffectClassNone, registration.IfNeededReinvocationPolicy
	hook := func(path, group, resource string) registration.MutatingWebhook {
		return registration.MutatingWebhook{
			Name: path + ".example.com", ClientConfig: h.at(path), SideEffects: &none, AdmissionReviewVersions: []string{"v1"}, ReinvocationPolicy: &again,
			Rules: append(on(group, resource, registration.Create), on("shop.example.com", "lamps", registration.Create)...),
		}
	}
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	must[*registration.MutatingWebhookConfiguration](t)(configurations.Create(t.Context(), &registration.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "m"}, Webhooks: []registration.MutatingWebhook{hook("count", "", "pods"), hook("inject", "", "pods"), hook("spoil", "", "secrets")},
	}, metav1.CreateOptions{}))
	var made *corev1.Pod
	eventually(t, func() error {
		var err error
		if made, err = client.CoreV1().Pods("n").Create(t.Context(), pod("p"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil && made.Labels["count"] == "" {
			err = errors.New("not changed yet")
		}
		return err
	})
	if made.Labels["count"] != "again" || len(made.Spec.InitContainers) != 1 || made.Spec.InitContainers[0].TerminationMessagePath == "" {
		t.Errorf("labels %v, init containers %v", made.Labels, made.Spec.InitContainers)
	}
	_, err := client.CoreV1().Secrets("n").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
	refused(t, err, "testing value /kind failed")
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	define(t, objects)
	lamp := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "shop.example.com/v1", "kind": "Lamp", "metadata": map[string]any{"name": "l"}}}
	eventually(t, func() error {
		got, err := objects.Resource(schema.GroupVersionResource{Group: "shop.example.com", Version: "v1", Resource: "lamps"}).Namespace("n").Create(t.Context(), lamp, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && got.GetLabels()["count"] != "one" {
			err = errors.New("a custom resource is not changed")
		}
		return err
	})
}

// define makes the definition of Lamps.
func define(t *testing.T, objects dynamic.Interface) {
	t.Helper()
	keep := true
	definition := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "lamps.shop.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "shop.example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "lamps", Kind: "Lamp"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}}}},
		}}
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(definition)
	if err != nil {
		t.Fatal(err)
	}
	must[*unstructured.Unstructured](t)(objects.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")).Create(t.Context(), &unstructured.Unstructured{Object: raw}, metav1.CreateOptions{}))
}
