package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/route"
)

// Check looks whether this host can run a cluster with these settings.
func Check(ctx context.Context, s config.Settings) []host.Finding {
	findings := append(host.Check(ctx, requirements(s)), checkRules(s)...)
	if s.Nodes == 0 {
		findings = append(findings, checkName(s))
	}
	return append(findings, checkRegistries(s))
}

// checkRegistries says how images are pulled, and what is wrong with what the file says of that.
func checkRegistries(s config.Settings) host.Finding {
	f := host.Finding{Name: "image pulls", OK: true, Level: host.Pass, Message: "directly"}
	if p := proxyOf(s.Registries, s.Own.Proxy); p.Environment(nil) != nil {
		f.Message = "through a proxy: " + p.String()
	}
	if n := len(s.Registries.Hosts); n > 0 {
		f.Message += fmt.Sprintf("; the configuration file has settings of %d registries", n)
	}
	if _, err := config.Registries(s.File); err != nil {
		f.OK, f.Level, f.Message = false, host.Fail, err.Error()
	}
	return f
}

// checkName looks whether this host has a name that a node can have.
func checkName(s config.Settings) host.Finding {
	name, err := nodeName(s.NodeName)
	if err != nil {
		return host.Finding{Name: "node name", Level: host.Fail, Message: err.Error()}
	}
	return host.Finding{Name: "node name", OK: true, Level: host.Pass, Message: name}
}

// checkRules tries what the rules of Services need of the kernel, by feature and version.
func checkRules(s config.Settings) []host.Finding {
	var found []host.Finding
	for _, p := range s.Services {
		f := host.Finding{Name: "rules for IPv4 Services", OK: true, Level: host.Pass, Message: "every feature they need"}
		if p.Addr().Is6() {
			f.Name = "rules for IPv6 Services"
		}
		if err := nft.CheckKernel(p.Addr().Is6()); err != nil {
			f.OK, f.Level, f.Message = false, host.Fail, err.Error()
		}
		found = append(found, f)
	}
	return found
}

// requirements are what a cluster with these settings needs of the host. A lab needs no port or range of it: its
// nodes have networks of their own.
func requirements(s config.Settings) host.Requirements {
	req := host.Requirements{Dir: s.DataDir, OwnLinks: []string{route.LinkName}, IPv6: hasIPv6(s.Services)}
	req.Firewalls = firewalls(s)
	inst := instance.Instance{Dir: s.DataDir}
	if pid, running := inst.Running(); running {
		req.Running = host.Running{Name: s.Name, PID: pid}
		if saved, err := inst.LoadSettings(); err == nil && saved.Name != "" { // what it was started as
			req.Running.Name = saved.Name
		}
	}
	if s.Nodes > 0 {
		return req
	}
	req.Proxy = true
	if _, err := net.InterfaceByName(route.LinkName); err == nil {
		return withPorts(req, s) // this host is a node already, or was until a crash: the addresses in use are its own
	}
	for i := range s.Pods {
		req.Ranges = append(req.Ranges,
			host.Range{Name: "pods", Prefix: s.Pods[i], Flag: "--pod-cidr"}, host.Range{Name: "Services", Prefix: s.Services[i], Flag: "--service-cidr"})
	}
	return withPorts(req, s)
}

// firewalls are what the host's firewall has to let pass: pods' connections to the API and the DNS and to each other.
func firewalls(s config.Settings) []host.Firewall {
	port := func(network string, number int, what string) host.Port {
		return host.Port{Network: network, Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(number)), For: what}
	}
	if s.Nodes > 0 {
		return nil // its nodes and its API server are in networks of their own
	}
	all := make([]host.Firewall, len(s.Pods))
	for i, pods := range s.Pods {
		all[i] = host.Firewall{From: pods, Forward: true,
			Ports: []host.Port{port("tcp", s.Port, "API server"), port("udp", 53, "DNS"), port("tcp", 53, "DNS")}}
	}
	return all
}

func withPorts(req host.Requirements, s config.Settings) host.Requirements {
	all := everywhere(s)
	req.Ports = []host.Port{
		{Network: "tcp", Addr: all, For: "API server", Flag: "--port"},
		{Network: "tcp", Addr: netip.AddrPortFrom(all.Addr(), uint16(s.AgentPort)), For: "node agent", Flag: "--agent-port"},
	}
	if ports := s.Networking.Ingress; ports != nil {
		for _, a := range hostAddrs(s.NodeIPs) { // no other address is listened on
			for _, number := range []uint16{ports.HTTP, ports.HTTPS} {
				req.Ports = append(req.Ports, host.Port{Network: "tcp", Addr: netip.AddrPortFrom(a, number), For: "L7 engine (Ingress)", Flag: "--ingress-ports", Spare: true})
			}
		}
	}
	for _, a := range s.DNS { // which this host does not have yet: only who listens everywhere is in the way
		for _, network := range []string{"udp", "tcp"} {
			req.Ports = append(req.Ports, host.Port{Network: network, Addr: netip.AddrPortFrom(a, 53), For: "cluster DNS"})
		}
	}
	return req
}

// preflight refuses to start on a host that cannot run the cluster, and warns of other service proxies, and of ports that it can do
// without.
func preflight(ctx context.Context, s config.Settings, warnings io.Writer) error {
	findings := host.Check(ctx, requirements(s))
	for _, f := range findings {
		if f.Level == host.Warn && (f.Name == host.RivalsName || strings.HasPrefix(f.Name, host.PortName)) {
			fmt.Fprintf(warnings, "fairlead: warning: %s: %s\n", f.Name, f.Message)
		}
	}
	failed := host.Failed(findings)
	if len(failed) == 0 {
		return nil
	}
	lines := make([]string, len(failed))
	for i, f := range failed {
		lines[i] = f.Name + ": " + f.Message
	}
	return errors.New(strings.Join(lines, "\n"))
}
