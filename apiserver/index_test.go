package apiserver_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

// GET / lists every group that is served, built in or defined, and the paths beside them.
func TestRootListsEveryGroup(t *testing.T) {
	cfg := apitest.Start(t)
	if _, err := dynamicOf(t, cfg).Resource(definitions()).Create(t.Context(), parse(t, widgetDefinition), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/api", "/api/v1", "/apis", "/healthz", "/healthz/ping", "/livez", "/readyz", "/metrics", "/openapi/v2", "/openapi/v3", "/version",
		"/apis/shop.example.com", "/apis/shop.example.com/v1", "/apis/apiextensions.k8s.io", "/apis/apiextensions.k8s.io/v1"}
	var groups metav1.APIGroupList
	code, _, body := request(t, cfg, http.MethodGet, "/apis", "application/json", "")
	if err := json.Unmarshal(body, &groups); err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
	for _, g := range groups.Groups {
		want = append(want, "/apis/"+g.Name)
		for _, v := range g.Versions {
			want = append(want, "/apis/"+v.GroupVersion)
		}
	}
	apitest.Eventually(t, func() string {
		var root metav1.RootPaths
		code, _, body := request(t, cfg, http.MethodGet, "/", "application/json", "")
		if err := json.Unmarshal(body, &root); err != nil || code != http.StatusOK {
			t.Fatal(code, err)
		}
		missing := ""
		for _, path := range want {
			if !slices.Contains(root.Paths, path) {
				missing += " " + path
			}
		}
		return missing
	})
}
