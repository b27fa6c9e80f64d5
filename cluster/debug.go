package cluster

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/l7/feed"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// Where an agent tells people what it knows, on its API.
const (
	DebugService = "/debug/service" // ?name=NAMESPACE/NAME: what the node knows of a Service, and the rows that follow
	DebugName    = "/debug/name"    // ?name=DOMAIN: what the table of names has
	DebugRules   = "/debug/rules"   // the nftables tables as they should be
	DebugL7      = "/debug/l7"      // what the L7 engine serves
	DebugRoute   = "/debug/route"   // ?url=[SCHEME://]HOST[:PORT][/PATH]&method=GET&service=NAMESPACE/NAME: what it does with a request
	DebugPacket  = "/debug/packet"  // ?from=ADDRESS&to=ADDRESS:PORT&protocol=tcp: what the rules make of a packet
)

// debugPages is what a node tells people of itself.
func debugPages(w *world.World, proxy *nft.Proxy, names *dns.Server, served *feed.Feed) map[string]http.Handler {
	return map[string]http.Handler{
		DebugService: page(func(r *http.Request) (string, error) {
			namespace, name, ok := strings.Cut(r.FormValue("name"), "/")
			if !ok {
				return "", fmt.Errorf("name %q: want NAMESPACE/NAME", r.FormValue("name"))
			}
			return serviceText(w, proxy, types.NamespacedName{Namespace: namespace, Name: name})
		}),
		DebugName: page(func(r *http.Request) (string, error) { return names.Text(r.FormValue("name")), nil }),
		DebugRules: page(func(*http.Request) (string, error) {
			var b strings.Builder
			for _, t := range proxy.Plan() {
				b.WriteString(t.String())
			}
			return b.String(), nil
		}),
		DebugL7: page(func(*http.Request) (string, error) {
			var b strings.Builder
			served.WriteText(&b)
			return b.String(), nil
		}),
		DebugRoute: page(func(r *http.Request) (string, error) {
			q, err := question(r.FormValue("url"), r.FormValue("method"), r.FormValue("service"))
			if err != nil {
				return "", err
			}
			return served.Explain(q), nil
		}),
		DebugPacket: page(func(r *http.Request) (string, error) {
			return packetText(proxy, r.FormValue("from"), r.FormValue("to"), r.FormValue("protocol"))
		}),
	}
}

// question reads a request that is to be explained.
func question(text, method, service string) (feed.Question, error) {
	q := feed.Question{Method: strings.ToUpper(method)}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return q, fmt.Errorf("url %q: want HOST/PATH, or the like with http:// or https:// before it", text)
	}
	q.Host, q.Path, q.TLS = u.Hostname(), u.EscapedPath(), u.Scheme == "https"
	port, err := strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16)
	if err != nil {
		return q, fmt.Errorf("url %q: port %s is none", text, u.Port())
	}
	if q.Port = uint16(port); service == "" {
		return q, nil
	}
	namespace, name, ok := strings.Cut(service, "/")
	if !ok {
		return q, fmt.Errorf("service %q: want NAMESPACE/NAME", service)
	}
	if q.Service = (types.NamespacedName{Namespace: namespace, Name: name}); q.Port == 0 {
		q.Port = map[bool]uint16{false: 80, true: 443}[q.TLS]
	}
	return q, nil
}

// page serves text, or says what is wrong with the question.
func page(answer func(*http.Request) (string, error)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text, err := answer(r)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(rw, text)
	})
}

// serviceText is what a node knows of a Service, and what it derives from that.
func serviceText(w *world.World, proxy *nft.Proxy, name types.NamespacedName) (string, error) {
	var rows []lb.Rows
	for _, r := range proxy.Rows() {
		if r.Service == name {
			rows = append(rows, r)
		}
	}
	if service, endpoints := w.Service(name); service == nil && len(endpoints) == 0 && len(rows) == 0 {
		return "", fmt.Errorf("service %s: this node knows none of the name; see 'fairlead kubectl get services --all-namespaces'", name)
	}
	text := w.Text(name)
	if len(rows) == 0 {
		return text + "no frontend follows from it\n", nil
	}
	return text + lb.Table(rows...), nil
}

// packetText is what a node's rules make of a packet: each outcome once.
func packetText(proxy *nft.Proxy, from, to, protocol string) (string, error) {
	source, err := netip.ParseAddr(from)
	if err != nil {
		return "", fmt.Errorf("from %q: want an address", from)
	}
	dest, err := netip.ParseAddrPort(to)
	if err != nil {
		return "", fmt.Errorf("to %q: want ADDRESS:PORT", to)
	}
	proto, ok := map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP, "sctp": lb.SCTP}[strings.ToLower(cmp.Or(protocol, "tcp"))]
	if !ok {
		return "", fmt.Errorf("protocol %q: want tcp, udp or sctp", protocol)
	}
	traces, err := proxy.Trace(source.Unmap(), netip.AddrPortFrom(dest.Addr().Unmap(), dest.Port()), proto)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, t := range traces {
		if i > 0 {
			b.WriteString("or:\n")
		}
		b.WriteString(t.String())
	}
	return b.String(), nil
}
