package health

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// nodeAnswer is the body of /healthz and /livez, with kube-proxy's keys.
type nodeAnswer struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
}

// serviceAnswer is the body of a healthCheckNodePort, with kube-proxy's keys.
type serviceAnswer struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// Healthz is the handler of /healthz: 200 while the rules are fresh and the node is not being removed (rule P93).
func (s *Server) Healthz(w http.ResponseWriter, _ *http.Request) {
	eligible := Eligible(s.world.Node(s.cfg.NodeName))
	s.counts.healthz.count(s.answerNode(w, eligible, &eligible))
}

// Livez is the handler of /livez: 200 while the rules are fresh, whatever becomes of the node.
func (s *Server) Livez(w http.ResponseWriter, _ *http.Request) {
	s.counts.livez.count(s.answerNode(w, true, nil))
}

func (s *Server) answerNode(w http.ResponseWriter, allowed bool, eligible *bool) (code int) {
	now, lag := time.Now(), s.cfg.SyncLag()
	a := nodeAnswer{LastUpdated: lag.Updated, CurrentTime: now, NodeEligible: eligible}
	healthy := lag.Healthy(now)
	if healthy {
		a.LastUpdated = now // as kube-proxy: rules that need no change are as good as new
	}
	return answer(w, healthy && allowed, a)
}

// answerService is the answer of a healthCheckNodePort, whatever path is asked for (rule P90).
func (s *Server) answerService(name types.NamespacedName, ipv6 bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var a serviceAnswer
		a.Service.Namespace, a.Service.Name = name.Namespace, name.Name
		a.LocalEndpoints = s.endpointsOn(name, ipv6)
		a.ServiceProxyHealthy = s.cfg.SyncLag().Healthy(time.Now())
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(a.LocalEndpoints))
		answer(w, a.LocalEndpoints > 0 && a.ServiceProxyHealthy, a)
	}
}

func answer(w http.ResponseWriter, ok bool, body any) (code int) {
	code = http.StatusOK
	if !ok {
		code = http.StatusServiceUnavailable
	}
	text, err := json.MarshalIndent(body, "", "\t")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // who asked has gone
	return code
}
