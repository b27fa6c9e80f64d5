package cluster

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestProxyAsksForServiceRanges: clusters from 1.33 on say which addresses are Services', older ones do not.
func TestProxyAsksForServiceRanges(t *testing.T) {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	older := httptest.NewServer(http.NotFoundHandler())
	defer older.Close()
	for want, config := range map[string]*rest.Config{"[10.96.0.0/12]": server.ClientConfig(), "[]": {Host: older.URL}} {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(serviceRanges(t.Context(), client, slog.New(slog.DiscardHandler))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
