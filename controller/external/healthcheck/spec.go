package healthcheck

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api"
)

// maxTimeoutSeconds is how long a node lets a probe take.
const maxTimeoutSeconds = 300

// spec is what the annotations of a Service ask for, valid and with defaults.
type spec struct {
	probe      corev1.Probe
	port       intstr.IntOrString // 0: every TCP port of the endpoint
	minHealthy intstr.IntOrString // of each pool, as a number or a percentage
}

// parseSpec reads the annotations of a Service that has api.AnnotationProbe. An error says what is wrong, in the API's words.
func parseSpec(annotations map[string]string) (*spec, error) {
	s := &spec{}
	if err := yaml.UnmarshalStrict([]byte(annotations[api.AnnotationProbe]), &s.probe); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", api.AnnotationProbe, err)
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", api.AnnotationProbe, err)
	}
	if text, ok := annotations[api.AnnotationKeep]; ok {
		s.minHealthy = intstr.Parse(text)
		n, err := intstr.GetScaledValueFromIntOrPercent(&s.minHealthy, 100, true)
		if err != nil || n < 0 || (s.minHealthy.Type == intstr.String && n > 100) {
			return nil, fmt.Errorf("annotation %s: Invalid value: %q: must be a number of addresses or a percentage from 0%% to 100%%", api.AnnotationKeep, text)
		}
	}
	return s, nil
}

// complete checks the probe and fills in core/v1's defaults (rules R1 and R3).
func (s *spec) complete() error {
	p := &s.probe
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
	return s.handler()
}

// handler checks the one question the probe asks. Each address is asked itself, so a host in its place is refused.
func (s *spec) handler() error {
	h, host, kinds := &s.probe.ProbeHandler, "", 0
	if h.Exec != nil {
		return fmt.Errorf("exec: Forbidden: an address outside of the cluster has no container to run a command in")
	}
	if a := h.TCPSocket; a != nil {
		kinds, host, s.port = kinds+1, a.Host, a.Port
		if s.port.Type == intstr.Int && s.port.IntVal == 0 {
			s.port = intstr.IntOrString{}
		} else if err := checkPort("tcpSocket.port", s.port); err != nil {
			return err
		}
	}
	if a := h.GRPC; a != nil {
		kinds, s.port = kinds+1, intstr.FromInt32(a.Port)
		if err := checkPort("grpc.port", s.port); err != nil {
			return err
		}
	}
	if a := h.HTTPGet; a != nil {
		kinds, host, s.port = kinds+1, a.Host, a.Port
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
func (s *spec) targets(ep *Endpoint, svc *corev1.Service) []netip.AddrPort {
	var numbers []int32
	switch {
	case s.port.Type == intstr.Int && s.port.IntVal != 0:
		numbers = append(numbers, s.port.IntVal)
	case s.port.Type == intstr.Int:
		for _, p := range ep.ports {
			if p.tcp {
				numbers = append(numbers, p.number)
			}
		}
	default:
		if n := named(s.port.StrVal, ep.ports, svc); n != 0 {
			numbers = append(numbers, n)
		}
	}
	var list []netip.AddrPort
	for _, n := range numbers {
		if to := netip.AddrPortFrom(ep.Addr, uint16(n)); !slices.Contains(list, to) {
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

// fits reports why the spec cannot be applied to a Service with these endpoints.
func (s *spec) fits(endpoints []Endpoint, svc *corev1.Service) error {
	if s.port.Type == intstr.Int || len(endpoints) == 0 {
		return nil
	}
	for i := range endpoints {
		if named(s.port.StrVal, endpoints[i].ports, svc) != 0 {
			return nil
		}
	}
	return fmt.Errorf("annotation %s: port: Invalid value: %q: neither the Service nor its endpoints have a TCP port of this name", api.AnnotationProbe, s.port.StrVal)
}
