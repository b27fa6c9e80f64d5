package apiserver_test

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// page is what a server answers somebody at a path.
func page(ctx context.Context, t *testing.T, config *rest.Config, path string) (string, error) {
	t.Helper()
	text, err := clientOf(t, config).CoreV1().RESTClient().Get().AbsPath(path).SetHeader("Accept", "*/*").MaxRetries(0).Do(ctx).Raw()
	return string(text), err
}

// TestMetricsHaveUpstreamsNames: dashboards and alerts that were made for kube-apiserver find what they look for.
func TestMetricsHaveUpstreamsNames(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	makeSecret(t, server.ClientConfig(), "s")
	text, err := page(t.Context(), t, administrator(t, cfg), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{
		`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"}`,
		`apiserver_request_duration_seconds_bucket{`, `apiserver_request_sli_duration_seconds_count{`, `apiserver_response_sizes_sum{`, `apiserver_current_inflight_requests{`,
		`apiserver_longrunning_requests{`, `apiserver_flowcontrol_current_executing_requests{`, `apiserver_flowcontrol_dispatched_requests_total{`,
		`apiserver_storage_objects{`, `apiserver_resource_objects{`, `apiserver_watch_cache_events_received_total{`,
		`apiserver_storage_transformation_operations_total{`, `etcd_request_duration_seconds_bucket{`, `authentication_attempts{`, `authorization_attempts_total{`,
		`workqueue_depth{`, `process_resident_memory_bytes`, `go_goroutines`,
	} {
		if !strings.Contains(text, "\n"+series) {
			t.Errorf("/metrics has no %s", series)
		}
	}
	if _, err := page(t.Context(), t, as(t, cfg, "mallory"), "/metrics"); !apierrors.IsForbidden(err) {
		t.Errorf("anybody reads /metrics: %v", err)
	}
}

func TestHealthIsToldCheckByCheck(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	for path, want := range map[string]string{
		"/livez": "ok", "/readyz": "ok", "/livez?verbose": "[+]etcd ok\n", "/readyz?verbose": "readyz check passed", "/readyz?verbose&exclude=etcd": "[+]etcd excluded: ok", "/livez/etcd": "ok",
	} {
		path, query, _ := strings.Cut(path, "?")
		r := clientOf(t, bearer(cfg, "")).CoreV1().RESTClient().Get().AbsPath(path)
		for _, q := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
			name, value, _ := strings.Cut(q, "=")
			r = r.Param(name, value)
		}
		if path == "/livez/etcd" {
			r = clientOf(t, administrator(t, cfg)).CoreV1().RESTClient().Get().AbsPath(path)
		}
		if text, err := r.Do(t.Context()).Raw(); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s?%s: %q, %v, want %q", path, query, text, err, want)
		}
	}
}

func TestProfilesAreForThoseWhoMay(t *testing.T) {
	for _, on := range []bool{false, true} {
		cfg := apitest.Config(t, t.TempDir())
		cfg.Profiling = on
		apitest.Run(t, cfg)
		if text, err := page(t.Context(), t, administrator(t, cfg), "/debug/pprof/goroutine"); (err == nil) != on || err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("profiling %v: an administrator gets %q, %v", on, text, err)
		}
		if _, err := page(t.Context(), t, as(t, cfg, "mallory"), "/debug/pprof/heap"); !apierrors.IsForbidden(err) {
			t.Errorf("profiling %v: anybody gets a profile: %v", on, err)
		}
	}
}
