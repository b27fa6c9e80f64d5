package kuberuntime

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/metrics"
)

// TestOperationsAreCalls: every name in the table is a call of CRI; one that is misspelt would never be counted.
func TestOperationsAreCalls(t *testing.T) {
	calls := map[string]bool{}
	for _, service := range []grpc.ServiceDesc{runtimeapi.RuntimeService_ServiceDesc, runtimeapi.ImageService_ServiceDesc} {
		for _, m := range service.Methods {
			calls[m.MethodName] = true
		}
	}
	for name := range operations {
		if !calls[name] {
			t.Errorf("CRI has no call %s", name)
		}
	}
}

// answers is a connection that gives every call an error, or none.
type answers struct {
	grpc.ClientConnInterface
	err error
}

func (a answers) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return a.err }

func TestCallsAreCounted(t *testing.T) {
	m, r := metrics.New("n1"), prometheus.NewRegistry()
	if _, err := m.Register(r, func() (metrics.Running, error) { return metrics.Running{}, nil }); err != nil {
		t.Fatal(err)
	}
	gone := status.Error(codes.NotFound, "no such container")
	for _, err := range []error{nil, gone} {
		c := New(answers{err: err}, false, m)
		if _, got := c.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{}); !errors.Is(got, err) || IgnoreNotFound(got) != nil {
			t.Errorf("got %v, want %v", got, err)
		}
		if _, got := c.Images.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{}); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`kubelet_runtime_operations_total{operation_type="remove_container"} 2`, `kubelet_runtime_operations_errors_total{operation_type="remove_container"} 1`,
		`kubelet_runtime_operations_total{operation_type="image_status"} 2`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestNotReady(t *testing.T) {
	c := New(answers{err: status.Error(codes.Unavailable, "connection refused")}, false, metrics.New("n1"))
	if got := c.NotReady(t.Context()); got != "container runtime is down: rpc error: code = Unavailable desc = connection refused" {
		t.Errorf("got %q", got)
	}
}
