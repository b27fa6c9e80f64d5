package feed

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// WriteText writes what the engine serves, for people: each entry, with its listeners, hosts and rules in order of precedence.
func (f *Feed) WriteText(out io.Writer) {
	t := f.table.Load()
	points := slices.SortedFunc(maps.Keys(t.Entries), comparePoints)
	if len(points) == 0 {
		fmt.Fprintln(out, "nothing is served")
	}
	for _, p := range points {
		e := t.Entries[p]
		fmt.Fprintf(out, "%s %s\n", pointText(p), e.Protocol)
		for _, l := range e.Listeners {
			fmt.Fprintf(out, "  listener %s %s\n", l.Name, cmp.Or(l.Hostname, "any host"))
			if l.TLS != nil {
				for _, c := range l.TLS.Certificates {
					fmt.Fprintf(out, "    certificate %s for %s\n", c.Secret, cmp.Or(c.Host, "the names that it has"))
				}
			}
			for _, s := range l.Streams {
				fmt.Fprintf(out, "    %s -> %s (%s)\n", cmp.Or(s.Hostname, "any name"), f.backendsText(s.Backends), s.Source)
			}
			if l.Hosts == nil {
				continue
			}
			hosts := slices.SortedFunc(l.Hosts.Each, func(a, b *route.Host) int { return cmp.Compare(a.Name, b.Name) })
			for _, h := range hosts {
				fmt.Fprintf(out, "    host %s\n", cmp.Or(h.Name, "any"))
				for _, r := range h.Rules {
					fmt.Fprintf(out, "      %s -> %s (%s)\n", matchText(&r.Match), f.actionText(&r.Action), r.Source)
				}
			}
		}
	}
}

func comparePoints(a, b route.Point) int {
	return cmp.Or(cmp.Compare(a.Service.String(), b.Service.String()), cmp.Compare(a.Port, b.Port), cmp.Compare(strconv.FormatBool(a.Local), strconv.FormatBool(b.Local)))
}

func pointText(p route.Point) string {
	text := fmt.Sprintf("port %d of the node", p.Port)
	if p.Service.Name != "" {
		text = fmt.Sprintf("port %d of Service %s", p.Port, p.Service)
	}
	if p.Local {
		text += ", for clients that a policy keeps to this node"
	}
	return text
}

func matchText(m *route.Match) string {
	kinds := map[route.PathKind]string{route.Prefix: "prefix", route.Exact: "exact", route.Regex: "regex", route.Start: "start"}
	words := []string{kinds[m.Path.Kind], m.Path.Value}
	if m.Method != "" {
		words = append(words, m.Method)
	}
	for what, list := range map[string][]route.ValueMatch{"header": m.Headers, "query": m.Query, "cookie": m.Cookies} {
		for _, v := range list {
			words = append(words, what+" "+v.Name)
		}
	}
	return strings.Join(words, " ")
}

func (f *Feed) actionText(a *route.Action) string {
	switch {
	case a.Redirect != nil:
		return fmt.Sprintf("redirect %d", a.Redirect.Status)
	case a.Respond != nil:
		return fmt.Sprintf("answer %d", a.Respond.Status)
	case len(a.Backends) == 0:
		return "no backend"
	}
	return f.backendsText(a.Backends)
}

func (f *Feed) backendsText(all []route.Backend) string {
	words := make([]string, len(all))
	for i := range all {
		b := &all[i]
		if b.Broken != "" {
			words[i] = "broken: " + b.Broken
			continue
		}
		words[i] = fmt.Sprintf("%s:%d %s", b.Service, b.Port, f.endpointsText(upstream.Key{Service: b.Service, Port: b.Port, Local: b.Local}))
		if len(all) > 1 {
			words[i] = fmt.Sprintf("weight %d %s", b.Weight, words[i])
		}
	}
	return strings.Join(words, ", ")
}

func (f *Feed) endpointsText(key upstream.Key) string {
	backends := f.endpoints(key)
	if len(backends) == 0 {
		return "[no endpoint]"
	}
	var words []string
	for _, b := range backends {
		text := b.Addr.String()
		if b.Terminating {
			text += " terminating"
		}
		words = append(words, text)
	}
	return "[" + strings.Join(words, " ") + "]"
}

// Question is a request that somebody wants explained.
type Question struct {
	Method, Host, Path string
	TLS                bool
	Service            types.NamespacedName // whose address is dialled; zero: the node's own ports
	Port               uint16               // 0: that of the node for Ingresses
}

// Explain says what would become of a request: the entry, the listener and the rule that it meets, and the endpoints it may go to.
// Conditions on headers, parameters and cookies hold of nothing that is not there.
func (f *Feed) Explain(q Question) string {
	var b strings.Builder
	p := route.Point{Service: q.Service, Port: q.Port}
	if p.Port == 0 {
		p.Port = f.cfg.Ports.HTTP
		if q.TLS {
			p.Port = f.cfg.Ports.HTTPS
		}
	}
	e := f.table.Load().Entries[p]
	if e == nil {
		return fmt.Sprintf("%s: nothing is served there\n", pointText(p))
	}
	host := strings.ToLower(q.Host)
	fmt.Fprintf(&b, "entry     %s %s\n", pointText(p), e.Protocol)
	at := slices.IndexFunc(e.Listeners, func(l *route.Listener) bool { return route.Covers(l.Hostname, host) })
	if at < 0 {
		fmt.Fprintf(&b, "listener  none for host %s\n", host)
		return b.String()
	}
	l := e.Listeners[at]
	fmt.Fprintf(&b, "listener  %s\n", l.Name)
	if l.Hosts == nil {
		for _, s := range l.Streams {
			if route.Covers(s.Hostname, host) {
				fmt.Fprintf(&b, "goes to   %s (%s)\n", f.backendsText(s.Backends), s.Source)
				return b.String()
			}
		}
		return b.String() + "no stream for it\n"
	}
	path, err := route.ReadPath(cmp.Or(q.Path, "/"))
	if err != nil {
		return b.String() + fmt.Sprintf("path      %q: 400: %v\n", q.Path, err)
	}
	rule, sure := l.Hosts.FindSure(&route.Request{Host: host, Method: cmp.Or(q.Method, "GET"), Path: path.Normal, Values: nothing{}}, path.Others)
	switch {
	case !sure:
		return b.String() + fmt.Sprintf("path      %q: 400: as %s it meets another rule than as %s\n", q.Path, path.Normal, strings.Join(path.Others, ", "))
	case rule == nil:
		return b.String() + "rule      none: 404\n"
	}
	fmt.Fprintf(&b, "rule      %s\nmatches   %s\ngoes to   %s\n", rule.Source, matchText(&rule.Match), f.actionText(&rule.Action))
	return b.String()
}

// nothing is a request without headers, parameters and cookies.
type nothing struct{}

func (nothing) Header(string) (string, bool)    { return "", false }
func (nothing) Parameter(string) (string, bool) { return "", false }
func (nothing) Cookie(string) (string, bool)    { return "", false }
