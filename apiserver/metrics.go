package apiserver

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/metrics/legacyregistry"
)

// metricsPath is where the server's metrics are, for those who may get this path.
const metricsPath = "/metrics"

// serveMetrics puts a page with the library's metrics and those of others in the place of the library's own page, below the
// same authentication and authorization.
func serveMetrics(api *genericapiserver.GenericAPIServer, others prometheus.Gatherer) {
	if others == nil {
		return
	}
	api.Handler.NonGoRestfulMux.Unregister(metricsPath)
	api.Handler.NonGoRestfulMux.Handle(metricsPath, metricsPage(others))
}

// metricsPage shows what the library counts and what others do. What cannot be read is left out of the answer.
func metricsPage(others prometheus.Gatherer) http.Handler {
	all := prometheus.Gatherers{legacyregistry.DefaultGatherer, others}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
}
