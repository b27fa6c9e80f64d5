package health

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ReportPath is where an agent serves its node's Report.
const ReportPath = "/fairlead/v1/services"

// Report is what one node says about the Services it has programmed.
type Report struct {
	Node     string          `json:"node"`
	Updated  time.Time       `json:"updated,omitzero"` // when the rules last were what they should be
	Pending  time.Time       `json:"pending,omitzero"` // since when something is not in them
	Failure  string          `json:"failure,omitempty"`
	Services []ServiceReport `json:"services"`
}

// ServiceReport is one Service in a Report.
type ServiceReport struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Programmed is when the kernel last took over a change of the Service; absent if there is nothing of it in
	// the kernel, which is right for one without address.
	Programmed time.Time        `json:"programmed,omitzero"`
	Endpoints  []EndpointReport `json:"endpoints,omitempty"` // only those that have had connections
}

// EndpointReport counts the connections that a node has sent to an endpoint of a Service port.
type EndpointReport struct {
	Port        string         `json:"port,omitempty"` // name of the Service port
	Address     netip.AddrPort `json:"address"`
	Connections uint64         `json:"connections"`
}

// Connections are those that the kernel has balanced to one endpoint of a Service port since it was programmed.
type Connections struct {
	Service types.NamespacedName
	Port    string // name of the Service port
	Address netip.AddrPort
	Count   uint64
}

// NewReport is the Report of a node without its Services' connections.
func NewReport(node string, lag SyncLag, failure error, services []types.NamespacedName, programmed func(types.NamespacedName) time.Time) Report {
	r := Report{Node: node, Updated: lag.Updated, Pending: lag.Pending, Services: make([]ServiceReport, len(services))}
	if failure != nil {
		r.Failure = failure.Error()
	}
	for i, name := range services {
		r.Services[i] = ServiceReport{Namespace: name.Namespace, Name: name.Name, Programmed: programmed(name)}
	}
	return r
}

// Count adds connections to the Services of the Report; those of other Services are left out.
func (r *Report) Count(all []Connections) {
	at := make(map[types.NamespacedName]*ServiceReport, len(r.Services))
	for i := range r.Services {
		s := &r.Services[i]
		at[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s
	}
	for _, c := range all {
		if s := at[c.Service]; s != nil {
			s.Endpoints = append(s.Endpoints, EndpointReport{Port: c.Port, Address: c.Address, Connections: c.Count})
		}
	}
}

// ServeReport is the handler of ReportPath. Each request builds a new Report.
func ServeReport(build func() (Report, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report, err := build()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // who asked has gone
	})
}
