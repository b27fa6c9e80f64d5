package apiserver_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/apitest"
)

const scoped = `"scope": "Namespaced",`

// defineLamps defines lamps, with the fields of v1 and of the definition itself beside the usual ones.
func defineLamps(ofVersion, ofSpec string) string {
	return `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "lamps.shop.example.com"},
		"spec": {"group": "shop.example.com", "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp"}, ` + ofSpec + `
		"versions": [{"name": "v1", "served": true, "storage": true, ` + ofVersion + `
			"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
				"spec": {"type": "object", "properties": {"colour": {"type": "string"}, "replicas": {"type": "integer"}}},
				"status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
			{"name": "v2", "served": true, "storage": false,
			"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`
}

func lamps(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "shop.example.com", Version: version, Resource: "lamps"}
}

// TestDefinitionsAreCarriedOut: a definition's words are those that the API knows, and what it asks for is done.
func TestDefinitionsAreCarriedOut(t *testing.T) {
	client := dynamicOf(t, apitest.Start(t))
	for name, c := range map[string]struct{ ofVersion, ofSpec, want string }{
		"scope":               {"", `"scope": "namespaced",`, `spec.scope: Unsupported value: "namespaced": supported values: "Cluster", "Namespaced"`},
		"conversion":          {"", scoped + `"conversion": {"strategy": "webhook"},`, `spec.conversion.strategy: Unsupported value: "webhook": supported values: "None", "Webhook"`},
		"conversion nowhere":  {"", scoped + `"conversion": {"strategy": "Webhook"},`, "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"},
		"selectable nothing":  {`"selectableFields": [{"jsonPath": ".spec.size"}],`, scoped, "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec.size\": "},
		"scale without paths": {`"subresources": {"scale": {}},`, scoped, "spec.versions[0].subresources.scale.specReplicasPath: Required value"},
	} {
		_, err := client.Resource(definitions()).Create(t.Context(), parse(t, defineLamps(c.ofVersion, c.ofSpec)), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	whole := defineLamps(`"selectableFields": [{"jsonPath": ".spec.colour"}],
		"subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},`, scoped)
	if _, err := client.Resource(definitions()).Create(t.Context(), parse(t, whole), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	space := client.Resource(lamps("v1")).Namespace("default")
	for _, colour := range []string{"red", "blue"} {
		lamp := parse(t, `{"apiVersion": "shop.example.com/v1", "kind": "Lamp", "metadata": {"name": "`+colour+`"}, "spec": {"colour": "`+colour+`", "replicas": 1}}`)
		eventually(t, "a lamp is made", func() bool {
			_, err := space.Create(t.Context(), lamp, metav1.CreateOptions{})
			return err == nil
		})
	}
	list, err := space.List(t.Context(), metav1.ListOptions{FieldSelector: "spec.colour=blue"})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetName() != "blue" {
		t.Errorf("selected by colour: %v, %v", list, err)
	}
	if _, err := space.Patch(t.Context(), "red", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	red, err := space.Get(t.Context(), "red", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := unstructured.NestedInt64(red.Object, "spec", "replicas"); n != 3 {
		t.Errorf("scaled: %v", red.Object)
	}
}

// convert answers as a webhook that notes the version each object was converted from.
func convert(w http.ResponseWriter, r *http.Request) {
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, raw := range review.Request.Objects {
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(raw.Raw); err != nil {
			answer.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
			break
		}
		obj.Object["from"] = obj.GetAPIVersion()
		obj.SetAPIVersion(review.Request.DesiredAPIVersion)
		answer.ConvertedObjects = append(answer.ConvertedObjects, runtime.RawExtension{Object: obj})
	}
	review.Request, review.Response = nil, answer
	if err := json.NewEncoder(w).Encode(review); err != nil {
		panic(http.ErrAbortHandler) // the server is told that there is no answer
	}
}

// TestDefinitionsConvertByWebhook: what a definition says about conversion is asked of its webhook.
func TestDefinitionsConvertByWebhook(t *testing.T) {
	webhook := httptest.NewTLSServer(http.HandlerFunc(convert))
	t.Cleanup(webhook.Close)
	authority := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webhook.Certificate().Raw}))
	client := dynamicOf(t, apitest.Start(t))
	manifest := defineLamps("", scoped+fmt.Sprintf(`"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
		"clientConfig": {"url": %q, "caBundle": %q}}},`, webhook.URL, authority))
	if _, err := client.Resource(definitions()).Create(t.Context(), parse(t, manifest), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	lamp := parse(t, `{"apiVersion": "shop.example.com/v1", "kind": "Lamp", "metadata": {"name": "a"}, "spec": {}}`)
	eventually(t, "a lamp is made", func() bool {
		_, err := client.Resource(lamps("v1")).Namespace("default").Create(t.Context(), lamp, metav1.CreateOptions{})
		return err == nil
	})
	got, err := client.Resource(lamps("v2")).Namespace("default").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || got.Object["from"] != "shop.example.com/v1" || got.GetAPIVersion() != "shop.example.com/v2" {
		t.Errorf("converted: %v, %v", got, err)
	}
}
