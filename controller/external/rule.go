package external

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// The annotations.
const (
	// AnnotationProbe, on a Service without selector, is a core/v1 Probe in JSON or YAML.
	AnnotationProbe = "fairlead.dev/probe"
	// AnnotationKeep, beside it, is how many addresses, or what percentage of them, stay ready even if they fail.
	AnnotationKeep = "fairlead.dev/probe-keep"
	// AnnotationUnhealthy, on Endpoints and EndpointSlices, lists the endpoints that are not ready because of the probe,
	// separated by commas, each with its ports: 192.0.2.8:3306 or 192.0.2.8:80+443.
	AnnotationUnhealthy = "fairlead.dev/unhealthy"
)

// maxTimeoutSeconds is how long a node lets a probe take.
const maxTimeoutSeconds = 300

// rule is what the annotations of a Service ask for, valid and with defaults.
type rule struct {
	probe corev1.Probe
	port  intstr.IntOrString // 0: every TCP port of the endpoint
	keep  intstr.IntOrString
}

// parseRule reads the annotations of a Service that has AnnotationProbe.
func parseRule(annotations map[string]string) (*rule, error) {
	r := &rule{}
	if err := yaml.UnmarshalStrict([]byte(annotations[AnnotationProbe]), &r.probe); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AnnotationProbe, err)
	}
	if err := r.complete(); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AnnotationProbe, err)
	}
	if text, ok := annotations[AnnotationKeep]; ok {
		r.keep = intstr.Parse(text)
		n, err := intstr.GetScaledValueFromIntOrPercent(&r.keep, 100, true)
		if err != nil || n < 0 || (r.keep.Type == intstr.String && n > 100) {
			return nil, fmt.Errorf("annotation %s: Invalid value: %q: must be a number of addresses or a percentage from 0%% to 100%%", AnnotationKeep, text)
		}
	}
	return r, nil
}

// complete checks the probe and fills in core/v1's defaults (rules R1 and R3).
func (r *rule) complete() error {
	p := &r.probe
	if p.TerminationGracePeriodSeconds != nil {
		return fmt.Errorf("terminationGracePeriodSeconds: Invalid value: %d: must not be set, nothing is terminated", *p.TerminationGracePeriodSeconds)
	}
	for _, f := range []struct {
		name     string
		value    *int32
		fallback int32
	}{
		{"initialDelaySeconds", &p.InitialDelaySeconds, 0}, {"timeoutSeconds", &p.TimeoutSeconds, 1}, {"periodSeconds", &p.PeriodSeconds, 10},
		{"successThreshold", &p.SuccessThreshold, 1}, {"failureThreshold", &p.FailureThreshold, 3},
	} {
		if *f.value < 0 {
			return fmt.Errorf("%s: Invalid value: %d: must be greater than or equal to 0", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	if p.TimeoutSeconds > maxTimeoutSeconds {
		return fmt.Errorf("timeoutSeconds: Invalid value: %d: must be less than or equal to %d", p.TimeoutSeconds, maxTimeoutSeconds)
	}
	return r.handler()
}

// handler checks the one question the probe asks. Each address is asked itself, so a host in its place is refused.
func (r *rule) handler() error {
	h, host, kinds := &r.probe.ProbeHandler, "", 0
	if h.Exec != nil {
		return fmt.Errorf("exec: Forbidden: an address outside of the cluster has no container to run a command in")
	}
	if a := h.TCPSocket; a != nil {
		kinds, host, r.port = kinds+1, a.Host, a.Port
		if r.port.Type == intstr.Int && r.port.IntVal == 0 {
			r.port = intstr.IntOrString{}
		} else if err := checkPort("tcpSocket.port", r.port); err != nil {
			return err
		}
	}
	if a := h.GRPC; a != nil {
		kinds, r.port = kinds+1, intstr.FromInt32(a.Port)
		if err := checkPort("grpc.port", r.port); err != nil {
			return err
		}
	}
	if a := h.HTTPGet; a != nil {
		kinds, host, r.port = kinds+1, a.Host, a.Port
		if err := checkHTTP(a); err != nil {
			return err
		}
	}
	if kinds != 1 {
		return fmt.Errorf("must specify exactly one of httpGet, tcpSocket and grpc")
	}
	if host != "" {
		return fmt.Errorf("host: Forbidden: each address of the Service is probed itself (a Host header can be given in httpHeaders)")
	}
	return nil
}

func checkHTTP(a *corev1.HTTPGetAction) error {
	if err := checkPort("httpGet.port", a.Port); err != nil {
		return err
	}
	if a.Scheme != "" && a.Scheme != corev1.URISchemeHTTP && a.Scheme != corev1.URISchemeHTTPS {
		return fmt.Errorf("httpGet.scheme: Unsupported value: %q: supported values: \"HTTP\", \"HTTPS\"", a.Scheme)
	}
	for _, header := range a.HTTPHeaders {
		for _, message := range validation.IsHTTPHeaderName(header.Name) {
			return fmt.Errorf("httpGet.httpHeaders: Invalid value: %q: %s", header.Name, message)
		}
	}
	return nil
}

func checkPort(field string, port intstr.IntOrString) error {
	switch {
	case port.Type == intstr.String && port.StrVal == "", port.Type == intstr.Int && port.IntVal == 0:
		return fmt.Errorf("%s: Required value: a number or the name of a port", field)
	case port.Type == intstr.Int && (port.IntVal < 1 || port.IntVal > 65535):
		return fmt.Errorf("%s: Invalid value: %d: must be between 1 and 65535, inclusive", field, port.IntVal)
	}
	return nil
}

// targets are where one endpoint is probed. A name means the endpoint's port of that name or else the target port of the
// Service's. An endpoint without a port to probe has none, and nothing is known of it.
func (r *rule) targets(s *seat, svc *corev1.Service) []netip.AddrPort {
	var numbers []int32
	switch {
	case r.port.Type == intstr.Int && r.port.IntVal != 0:
		numbers = append(numbers, r.port.IntVal)
	case r.port.Type == intstr.Int:
		for _, p := range s.ports {
			if p.tcp {
				numbers = append(numbers, p.number)
			}
		}
	default:
		if n := named(r.port.StrVal, s.ports, svc); n != 0 {
			numbers = append(numbers, n)
		}
	}
	var list []netip.AddrPort
	for _, n := range numbers {
		if to := netip.AddrPortFrom(s.addr, uint16(n)); !slices.Contains(list, to) {
			list = append(list, to)
		}
	}
	return list
}

func named(name string, ports []port, svc *corev1.Service) int32 {
	for _, p := range ports {
		if p.name == name && p.tcp {
			return p.number
		}
	}
	for _, p := range svc.Spec.Ports {
		if p.Name == name && p.TargetPort.IntVal > 0 {
			return p.TargetPort.IntVal
		}
	}
	return 0
}

// fits reports why the rule cannot be applied to a Service with these endpoints.
func (r *rule) fits(seats []seat, svc *corev1.Service) error {
	if r.port.Type == intstr.Int || len(seats) == 0 {
		return nil
	}
	for i := range seats {
		if named(r.port.StrVal, seats[i].ports, svc) != 0 {
			return nil
		}
	}
	return fmt.Errorf("annotation %s: port: Invalid value: %q: neither the Service nor its endpoints have a TCP port of this name", AnnotationProbe, r.port.StrVal)
}
