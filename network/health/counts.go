package health

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are the Server's metrics, named as kube-proxy's.
type counts struct{ healthz, livez answers }

// answers counts answers by status code; a nil one counts nothing.
type answers struct{ byCode *prometheus.CounterVec }

func newCounts(r prometheus.Registerer) counts {
	if r == nil {
		return counts{}
	}
	make := func(name, of string) answers {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name, Help: "Answers of " + of + ", by HTTP status code.",
		}, []string{"code"})
		r.MustRegister(c)
		return answers{c}
	}
	return counts{healthz: make("kubeproxy_proxy_healthz_total", "/healthz"), livez: make("kubeproxy_proxy_livez_total", "/livez")}
}

func (a answers) count(code int) {
	if a.byCode != nil {
		a.byCode.WithLabelValues(strconv.Itoa(code)).Inc()
	}
}
