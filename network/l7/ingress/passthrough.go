package ingress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// guard is one of the annotations that keep people out by what they ask, empty if there is none.
func (s *settings) guard() string {
	for _, g := range []struct {
		name string
		is   bool
	}{
		{"whitelist-source-range", len(s.allow) > 0}, {"denylist-source-range", len(s.deny) > 0}, {"auth-type", s.authType != ""},
		{"auth-url", s.authURL != ""}, {"auth-tls-secret", s.clientSecret != "" && s.clientVerify != "off"},
	} {
		if g.is {
			return g.name
		}
	}
	return ""
}

// passthrough notes where the connections for the Ingress's hosts go as bytes. Where one cannot, nothing is served: to end TLS here would
// be what somebody did not want.
func (d *derivation) passthrough() {
	s := d.settings
	if !s.passthrough || s.closed != "" {
		return
	}
	d.streams = map[string]*route.Stream{}
	for i := range d.ing.Spec.Rules {
		host := d.ing.Spec.Rules[i].Host
		if to, where := d.root(host); host != "" && !strings.HasPrefix(host, "*") && to != nil {
			d.streams[host] = &route.Stream{
				Source: route.Source{Kind: "Ingress", NamespacedName: d.age.Name, Rule: where}, Hostname: host, Backends: []route.Backend{d.asBytes(to, where)},
			}
			continue
		}
		d.find(PathWrong, Wrong, "ssl-passthrough", fmt.Sprintf("host %s has no backend for the path /, or is none by itself: its connections have no place to go, and the Ingress's paths answer 503", shown(host)),
			"Write a host by its whole name, with the path /")
		s.closed, d.streams = "ssl-passthrough", nil
		return
	}
	if len(d.ing.Spec.Rules) == 0 {
		d.find(PathWrong, Wrong, "ssl-passthrough", "no rule has a host: the Ingress's paths answer 503", "Write a rule with the host whose connections are meant")
		s.closed, d.streams = "ssl-passthrough", nil
	}
}

// root is the backend for the path / of a host.
func (d *derivation) root(host string) (to *networkingv1.IngressBackend, where string) {
	for i := range d.ing.Spec.Rules {
		r := &d.ing.Spec.Rules[i]
		if r.Host != host || r.HTTP == nil {
			continue
		}
		for j := range r.HTTP.Paths {
			if p := &r.HTTP.Paths[j]; p.Path == "/" || p.Path == "" {
				return &p.Backend, fmt.Sprintf("spec.rules[%d].http.paths[%d]", i, j)
			}
		}
	}
	return d.ing.Spec.DefaultBackend, "spec.defaultBackend"
}

// asBytes is a backend that is sent what comes.
func (d *derivation) asBytes(to *networkingv1.IngressBackend, where string) route.Backend {
	b := d.backend(to, where)
	b.TLS, b.Protocol = nil, route.HTTP1
	return b
}

// passing is the listener of a host whose connections the eldest of its Ingresses has pass as bytes; nil: there is none. Others that
// want that are told.
func (m *merged) passing(name string, s *state) *route.Listener {
	if !slices.ContainsFunc(s.paths, func(p *path) bool { return p.part.streams[name] != nil }) {
		return nil
	}
	eldest := slices.MinFunc(s.paths, seniority).part
	told := map[*part]bool{eldest: true}
	for _, p := range s.paths {
		if p.part.streams[name] != nil && !told[p.part] {
			told[p.part] = true
			m.findings = append(m.findings, taken(p.part, "ssl-passthrough", name, "rules of "+eldest.age.Name.String()))
		}
	}
	stream := eldest.streams[name]
	if stream == nil {
		return nil
	}
	return &route.Listener{Name: "ingress/" + name, Hostname: name, Streams: []route.Stream{*stream}}
}

func compareListeners(a, b *route.Listener) int { return cmp.Compare(a.Hostname, b.Hostname) }
