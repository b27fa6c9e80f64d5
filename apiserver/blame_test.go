package apiserver_test

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// What a client got wrong is answered as its mistake, in every form of request and for custom resources too.
func TestMistakesAreTheClients(t *testing.T) {
	cfg := apitest.Start(t)
	custom := dynamicOf(t, cfg)
	if _, err := custom.Resource(definitions()).Create(t.Context(), parse(t, widgetDefinition), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const w = "/apis/shop.example.com/v1/namespaces/default/widgets"
	widget := parse(t, `{"apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}`)
	apitest.Eventually(t, func() string {
		if _, err := custom.Resource(widgets()).Namespace("default").Create(t.Context(), widget, metav1.CreateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	const json, proto, list = "application/json", "application/vnd.kubernetes.protobuf", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	for _, c := range []struct {
		method, path, contentType, accept, body string
		code                                    int
		says                                    string
	}{
		{"POST", w, proto, json, "k8s\x00", 415, "accepted media types include: application/json, application/yaml"},
		{"POST", w, proto + ";as=Table", json, "", 415, "accepted media types include"},
		{"PUT", w + "/w", proto, json, "", 415, "accepted media types include"},
		{"PUT", w + "/w/status", proto, proto, "", 415, "accepted media types include"},
		{"GET", "/api/v1/namespaces/default?resourceVersion=x", "", json, "", 400, `resourceVersion: Invalid value`},
		{"GET", w + "/w?resourceVersion=-1", "", json, "", 400, `resourceVersion: Invalid value`},
		{"GET", "/api/v1/namespaces/default", "", list, "", 406, "NotAcceptable"},
		{"GET", w + "/w", "", list, "", 406, "NotAcceptable"},
		{"POST", "/api/v1/namespaces", json, json, `{"metadata":{"name":"n","resourceVersion":"5"}}`, 400, "resourceVersion should not be set on objects to be created"},
		{"POST", w, json, json, `{"apiVersion":"shop.example.com/v1","kind":"Widget","metadata":{"name":"v","resourceVersion":"5"},"spec":{}}`, 400, "resourceVersion should not be set"},
		{"PATCH", "/api/v1/namespaces/default/configmaps/c?fieldManager=m", "application/apply-patch+yaml", json, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"spec":{}}`,
			400, ".spec: field not declared in schema"},
		{"PATCH", "/apis/coordination.k8s.io/v1/namespaces/default/leases/l?fieldManager=m", "application/apply-patch+yaml", json,
			`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"},"spec":{"renewTime":"["}}`, 400, "parsing time"},
		{"PATCH", "/api/v1/nodes/n", "application/merge-patch+json", json, `{"status":{"capacity":{"cpu":"9E+999999999"}}}`, 400, "exponent"},
		{"POST", "/api/v1/nodes", json, json, `{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"1\u0045-\u0039999999999"}}}`, 400, "exponent"},
		{"POST", "/api/v1/nodes", "application/yaml", json, "{metadata: {name: n}, status: {capacity: {cpu: '1e-999999999'}}}", 400, "exponent"},
		{"PATCH", "/api/v1/nodes/n", "application/json-patch+json", json, `[{"op":"add","value":"1e-999999999","path":"/status/capacity/cpu"}]`, 400, "exponent"},
		{"POST", "/api/v1/nodes", json, json, `{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"9e999999999","cpu":"1"}}}`, 400, "exponent"},
		// A uid, a commit's short name and a plain text that look like one are none.
		{"POST", "/api/v1/nodes", json, json, `{"metadata":{"name":"1e12345.a","uid":"0b7d21f4-6a5c-4f0e-9a51-1e1234567890","labels":{"commit":"9e12345","a":"1e12345"}}}`, 201, ""},
		{"POST", "/api/v1/nodes", json, json, `{"metadata":{"name":"n","labels":{"a":"a1e12345"}},"status":{"capacity":{"cpu":"1e3","memory":"12345678e-3"}}}`, 201, "12345678e-3"},
		{"POST", "/api/v1/namespaces/default/configmaps", json, json, `{"metadata":{"name":"free"},"data":{"a":"1e99999"}}`, 201, "1e99999"},
	} {
		code, answer := send(t, cfg, c.method, c.path, c.contentType, c.accept, c.body)
		if code != c.code || !strings.Contains(answer, c.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.contentType, code, answer, c.code, c.says)
		}
	}
}

// send sends a request and returns the code and the body of the answer.
func send(t *testing.T, config *rest.Config, method, path, contentType, accept, body string) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", accept)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	text := new(strings.Builder)
	if err := answer.Write(text); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text.String()
}
