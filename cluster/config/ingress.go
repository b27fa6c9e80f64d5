package config

import (
	"fmt"
	"strconv"
	"strings"
)

// ingressPorts reads the ports on which nodes serve Ingresses, and says why they cannot be.
func (s *Settings) ingressPorts() (*IngressPorts, string) {
	first, second, ok := strings.Cut(s.IngressPorts, ",")
	http, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	https, err2 := strconv.ParseUint(strings.TrimSpace(second), 10, 16)
	if !ok || err != nil || err2 != nil || http == 0 || https == 0 {
		return nil, "must be HTTP,HTTPS, two ports between 1 and 65535, such as 80,443; --ingress=false serves no Ingress on the nodes' ports"
	}
	if http == https {
		return nil, "HTTP and HTTPS need a port each"
	}
	for _, port := range []uint64{http, https} {
		what := ""
		switch n := int(port); {
		case n == s.Port && s.Nodes == 0:
			what = "the API server's (--port)"
		case n == s.AgentPort:
			what = "the agent's (--agent-port)"
		case s.FirstPort <= n && n <= s.LastPort:
			what = "a node port (--node-ports)"
		default:
			continue
		}
		return nil, fmt.Sprintf("%d is %s; choose another, or say --ingress=false", port, what)
	}
	return &IngressPorts{uint16(http), uint16(https)}, ""
}
