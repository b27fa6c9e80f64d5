package apiserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// request sends a request with a body and returns code, content type and body of the answer.
func request(t *testing.T, config *rest.Config, method, path, accept, body string) (int, string, []byte) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", accept)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), content
}

func TestWatchListEndsWithTheBookmark(t *testing.T) {
	client, ctx := clientOf(t, apitest.Start(t)), t.Context()
	yes := true
	w, err := client.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	seen := 0
	for e := range w.ResultChan() {
		switch e.Type {
		case watch.Added:
			seen++
		case watch.Bookmark:
			if e.Object.(*corev1.Namespace).Annotations[metav1.InitialEventsAnnotationKey] != "true" {
				t.Fatalf("bookmark without %s: %v", metav1.InitialEventsAnnotationKey, e.Object)
			}
			if seen < 4 {
				t.Errorf("the bookmark came after %d of at least 4 namespaces", seen)
			}
			return
		default:
			t.Fatalf("event %v", e)
		}
	}
	t.Fatal("the watch ended before its bookmark")
}

func TestServerSideApplyConflict(t *testing.T) {
	client, ctx := clientOf(t, apitest.Start(t)), t.Context()
	maps := client.CoreV1().ConfigMaps("default")
	apply := func(manager, value string, force bool) error {
		_, err := maps.Apply(ctx, applycorev1.ConfigMap("a", "default").WithData(map[string]string{"k": value}),
			metav1.ApplyOptions{FieldManager: manager, Force: force})
		return err
	}
	if err := apply("one", "1", false); err != nil {
		t.Fatal(err)
	}
	err := apply("two", "2", false)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one": .data.k`) {
		t.Errorf("second manager: %v", err)
	}
	if err := apply("two", "2", true); err != nil {
		t.Errorf("by force: %v", err)
	}
}

func TestStrictFieldValidation(t *testing.T) {
	config := apitest.Start(t)
	for body, want := range map[string]string{
		`{"metadata":{"name":"a"},"bogus":1}`:                `strict decoding error: unknown field \"bogus\"`,
		`{"metadata":{"name":"a","name":"b"}}`:               `strict decoding error: duplicate field \"metadata.name\"`,
		`{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}`: `strict decoding error: duplicate field \"data.k\"`,
	} {
		code, _, answer := request(t, config, http.MethodPost, "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", "application/json", body)
		if code != http.StatusBadRequest || !bytes.Contains(answer, []byte(want)) {
			t.Errorf("%s: %d %s", body, code, answer)
		}
	}
	code, _, answer := request(t, config, http.MethodPost, "/api/v1/namespaces/default/configmaps?fieldValidation=Warn", "application/json", `{"metadata":{"name":"a"},"bogus":1}`)
	if code != http.StatusCreated {
		t.Errorf("with warnings only: %d %s", code, answer)
	}
}

func TestDiscovery(t *testing.T) {
	config := apitest.Start(t)
	resources := map[string]apidiscoveryv2.APIResourceDiscovery{}
	for _, path := range []string{"/api", "/apis"} {
		code, kind, body := request(t, config, http.MethodGet, path, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "")
		var list apidiscoveryv2.APIGroupDiscoveryList
		if err := json.Unmarshal(body, &list); err != nil || code != http.StatusOK || !strings.Contains(kind, "APIGroupDiscoveryList") {
			t.Fatalf("%s: %d %s %v", path, code, kind, err)
		}
		for _, group := range list.Items {
			for _, r := range group.Versions[0].Resources {
				resources[group.Name+"/"+r.Resource] = r
			}
		}
	}
	for name, short := range map[string]string{
		"/services": "svc", "/endpoints": "ep", "/pods": "po", "/nodes": "no", "/namespaces": "ns", "/configmaps": "cm",
		"/serviceaccounts": "sa", "/events": "ev", "apps/deployments": "deploy", "apps/replicasets": "rs",
	} {
		if r, ok := resources[name]; !ok || len(r.ShortNames) == 0 || r.ShortNames[0] != short {
			t.Errorf("%s: short names %v", name, r.ShortNames)
		}
	}
	subs := map[string]bool{}
	for _, s := range resources["/pods"].Subresources {
		subs[s.Subresource] = true
	}
	for _, s := range []string{"log", "exec", "attach", "portforward", "status"} {
		if !subs[s] {
			t.Errorf("pods/%s is not discovered", s)
		}
	}
}

func TestTables(t *testing.T) {
	_, _, body := request(t, apitest.Start(t), http.MethodGet, "/api/v1/namespaces", "application/json;as=Table;v=v1;g=meta.k8s.io", "")
	var table metav1.Table
	if err := json.Unmarshal(body, &table); err != nil {
		t.Fatal(err)
	}
	if table.Kind != "Table" || len(table.Rows) < 4 || len(table.ColumnDefinitions) == 0 || table.ColumnDefinitions[0].Name != "Name" {
		t.Errorf("table %s", body)
	}
}

func TestProtobuf(t *testing.T) {
	code, kind, body := request(t, apitest.Start(t), http.MethodGet, "/api/v1/namespaces", "application/vnd.kubernetes.protobuf", "")
	if code != http.StatusOK || kind != "application/vnd.kubernetes.protobuf" || !bytes.HasPrefix(body, []byte("k8s\x00")) {
		t.Errorf("%d %s", code, kind)
	}
}

func TestVersion(t *testing.T) {
	_, _, body := request(t, apitest.Start(t), http.MethodGet, "/version", "application/json", "")
	var v struct{ Major, Minor, GitVersion string }
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	if v.Major != "1" || v.Minor != "37" || !strings.HasPrefix(v.GitVersion, "v1.37.") {
		t.Errorf("version %s", body)
	}
}

func TestOpenAPI(t *testing.T) {
	config := apitest.Start(t)
	_, _, body := request(t, config, http.MethodGet, "/openapi/v3", "application/json", "")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(body, &index); err != nil {
		t.Fatal(err)
	}
	for group, model := range map[string]string{
		"api/v1": "io.k8s.api.core.v1.Service", "apis/apps/v1": "io.k8s.api.apps.v1.Deployment",
		"apis/discovery.k8s.io/v1": "io.k8s.api.discovery.v1.EndpointSlice", "apis/coordination.k8s.io/v1": "io.k8s.api.coordination.v1.Lease",
		"apis/events.k8s.io/v1": "io.k8s.api.events.v1.Event",
	} {
		path := index.Paths[group].ServerRelativeURL
		code, _, body := request(t, config, http.MethodGet, path, "application/json", "")
		var doc struct {
			Paths      map[string]any
			Components struct {
				Schemas map[string]struct {
					Kinds []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
				}
			}
		}
		if err := json.Unmarshal(body, &doc); err != nil || code != http.StatusOK {
			t.Fatalf("%s at %q: %d %v", group, path, code, err)
		}
		schema, ok := doc.Components.Schemas[model]
		if !ok || len(doc.Paths) == 0 || len(schema.Kinds) != 1 || schema.Kinds[0].Version != "v1" {
			t.Errorf("%s: %s has kinds %v; %d paths", group, model, schema.Kinds, len(doc.Paths))
		}
	}
	code, kind, body := request(t, config, http.MethodGet, "/openapi/v3/api/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "")
	if code != http.StatusOK || !strings.Contains(kind, "protobuf") || len(body) == 0 {
		t.Errorf("v3 in protobuf: %d %s", code, kind)
	}
	code, kind, body = request(t, config, http.MethodGet, "/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "")
	if code != http.StatusOK || !strings.Contains(kind, "protobuf") || len(body) == 0 {
		t.Errorf("v2 in protobuf: %d %s", code, kind)
	}
	if code, _, body = request(t, config, http.MethodGet, "/openapi/v2", "application/json", ""); code != http.StatusOK || !bytes.Contains(body, []byte("io.k8s.api.core.v1.Pod")) {
		t.Errorf("v2: %d, %d bytes", code, len(body))
	}
}
