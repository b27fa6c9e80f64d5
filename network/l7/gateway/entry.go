package gateway

import (
	"cmp"
	"slices"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// serve makes the entries of every Gateway.
func (d *derivation) serve() {
	for _, g := range d.gateways {
		if g.refused != nil {
			continue
		}
		for _, s := range g.sources() {
			for _, l := range s.listeners {
				if l.served() {
					d.serveListener(l)
				}
			}
		}
	}
	for _, e := range d.result.Entries {
		slices.SortStableFunc(e.Listeners, func(a, b *route.Listener) int { return cmp.Compare(rank(b.Hostname), rank(a.Hostname)) })
	}
}

var protocols = map[gw.ProtocolType]route.Protocol{
	gw.HTTPProtocolType: route.HTTP, gw.HTTPSProtocolType: route.HTTPS, gw.TLSProtocolType: route.TLS, gw.TCPProtocolType: route.TCP,
}

func (d *derivation) serveListener(l *listener) {
	if l.protocol == gw.UDPProtocolType {
		l.gateway.endpoints[l.port] = &UDP{Port: l.port, Backends: l.oldest()}
		return
	}
	at := route.Point{Service: l.gateway.service, Port: uint16(l.port)}
	e := d.result.Entries[at]
	if e == nil {
		e = &route.Entry{Point: at, Protocol: protocols[l.protocol]}
		d.result.Entries[at] = e
	}
	out := &route.Listener{Name: l.meta.Namespace + "/" + l.meta.Name + "/" + string(l.name), Hostname: l.hostname, TLS: l.end}
	switch e.Protocol {
	case route.HTTP, route.HTTPS:
		out.Misdirected = e.Protocol == route.HTTPS
		out.Hosts = l.hosts()
	case route.TLS:
		out.Streams = l.streams()
	case route.TCP:
		if backends := l.oldest(); backends != nil {
			out.Streams = []route.Stream{{Source: l.routes[0].source, Backends: backends}}
		}
	}
	e.Listeners = append(e.Listeners, out)
}

// oldest is where the oldest route of a listener sends everything: bytes have nothing to tell routes apart by.
func (l *listener) oldest() []route.Backend {
	if len(l.routes) == 0 {
		return nil
	}
	return l.routes[0].translation.streams
}

// streams are where the connections of a TLS listener go, the most specific names first. Of several routes for a name the oldest
// counts.
func (l *listener) streams() []route.Stream {
	var all []route.Stream
	seen := map[string]bool{}
	for _, s := range l.routes {
		for _, host := range s.hosts {
			if !seen[host] {
				seen[host] = true
				all = append(all, route.Stream{Source: s.source, Hostname: host, Backends: s.translation.streams})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b route.Stream) int { return cmp.Compare(rank(b.Hostname), rank(a.Hostname)) })
	return all
}

// hosts are the rules of a listener by host, in order of precedence.
func (l *listener) hosts() *route.Hosts {
	by := make(map[string][]ordered, len(l.routes))
	for _, s := range l.routes {
		for _, host := range s.hosts {
			by[host] = append(by[host], s.rules...)
		}
	}
	all := make([]*route.Host, 0, len(by))
	for name, rules := range by {
		slices.SortStableFunc(rules, func(a, b ordered) int { return cmp.Compare(b.precedence, a.precedence) })
		host := &route.Host{Name: name, Rules: make([]*route.Rule, len(rules))}
		for i, r := range rules {
			host.Rules[i] = r.Rule
		}
		all = append(all, host)
	}
	return route.NewHosts(all)
}
