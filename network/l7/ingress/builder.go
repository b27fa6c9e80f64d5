package ingress

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// Builder makes the Entries of all Ingresses, and after a change what it concerns. It is for one goroutine; the Entries are for all.
type Builder struct {
	world   World
	ports   Ports
	parts   map[types.NamespacedName]*part
	hosts   map[string]*state
	users   map[types.NamespacedName]set // Ingresses by the Services, Secrets and ConfigMaps that they use
	classes map[string]set               // Ingresses by class
	certs   certificates
	through map[string]*route.Listener // by host
	passing []*route.Listener          // the same, in order; nil: not yet
	plain   *route.Hosts
	secure  *route.Hosts
}

type set = map[types.NamespacedName]bool

// Ports are those of a node on which Ingresses are served.
type Ports struct{ HTTP, HTTPS uint16 }

// DefaultPorts are what clients expect.
var DefaultPorts = Ports{80, 443}

// Changes name objects that are new, different or gone. There is no harm in naming more.
type Changes struct {
	Ingresses, Services, Secrets, ConfigMaps []types.NamespacedName
	Classes                                  []string
}

// Concerned is what changes have changed.
type Concerned struct {
	Entries   bool                   // they are not those before
	Ingresses []types.NamespacedName // whose findings may be others, in order
}

// state is what there is to one host.
type state struct {
	paths    []*path // in order of precedence
	canaries []*path // the eldest first
	secured  int     // how many parts have it in their TLS, of those with paths
	aliases  []*part // that give it as another name of one of their hosts
	www      []*part // that have the other half of it, and want both
	others   map[string]int
	findings []Finding
}

// NewBuilder returns a Builder without Ingresses, which asks world for what changes name.
func NewBuilder(world World, ports Ports) *Builder {
	return &Builder{
		world: world, ports: ports, parts: map[types.NamespacedName]*part{}, hosts: map[string]*state{},
		users: map[types.NamespacedName]set{}, classes: map[string]set{}, through: map[string]*route.Listener{},
		certs: certificates{claims: map[string][]claim{}, asks: map[string]int{}, tls: &route.Termination{}}, plain: route.NewHosts(nil), secure: route.NewHosts(nil),
	}
}

// Entries are what is served now, at the two ports of a node.
func (b *Builder) Entries() (plain, secure *route.Entry) {
	plain = &route.Entry{Point: route.Point{Port: b.ports.HTTP}, Protocol: route.HTTP, Listeners: []*route.Listener{{Name: "ingress", Hosts: b.plain}}}
	if b.passing == nil {
		b.passing = slices.SortedFunc(maps.Values(b.through), compareListeners)
	}
	listeners := slices.Concat(b.passing, []*route.Listener{{Name: "ingress", Hosts: b.secure, TLS: b.certs.tls}})
	secure = &route.Entry{Point: route.Point{Port: b.ports.HTTPS}, Protocol: route.HTTPS, Listeners: listeners}
	return plain, secure
}

// Served reports whether an Ingress is one of those that are served.
func (b *Builder) Served(name types.NamespacedName) bool {
	p := b.parts[name]
	return p != nil && p.served
}

// Findings are what there is to say about an Ingress, the worst first.
func (b *Builder) Findings(name types.NamespacedName) []Finding {
	p := b.parts[name]
	if p == nil {
		return nil
	}
	list := slices.Clone(p.findings)
	own := func(all []Finding) {
		for _, f := range all {
			if f.Ingress == name {
				list = append(list, f)
			}
		}
	}
	for host := range p.names() {
		if s := b.hosts[host]; s != nil {
			own(s.findings)
		}
	}
	list = append(list, b.certs.findings(p)...)
	slices.SortFunc(list, compareFindings)
	return slices.Compact(list)
}

// Update takes changes in.
func (b *Builder) Update(c Changes) Concerned {
	todo := set{}
	for _, name := range c.Ingresses {
		todo[name] = true
	}
	for _, name := range slices.Concat(c.Services, c.Secrets, c.ConfigMaps) {
		maps.Copy(todo, b.users[name])
	}
	for _, class := range c.Classes {
		maps.Copy(todo, b.classes[class])
	}
	dirty, certs := map[string]bool{}, map[string]bool{}
	for name := range todo {
		if old := b.parts[name]; old != nil {
			b.file(old, false, dirty, certs)
			delete(b.parts, name)
		}
		if ing := b.world.Ingress(name); ing != nil {
			p := derive(ing, b.world)
			b.parts[name] = p
			b.file(p, true, dirty, certs)
		}
	}
	changed := b.certs.update(certs)
	changed = b.rebuild(dirty, todo) || changed
	for host := range certs {
		for _, c := range b.certs.claims[host] {
			todo[c.part.age.Name] = true
		}
	}
	return Concerned{Entries: changed, Ingresses: slices.SortedFunc(maps.Keys(todo), api.CompareNames)}
}

// names are the hosts that a part has to do with.
func (p *part) names() map[string]bool {
	all := map[string]bool{}
	for _, m := range []map[string][]*path{p.paths, p.canaries} {
		for host := range m {
			all[host] = true
		}
	}
	for alias := range p.aliases {
		all[alias] = true
	}
	for _, host := range p.www {
		all[otherHalf(host)] = true
	}
	return all
}

// file enters a part wherever it belongs, or takes it out, and notes the hosts to make anew.
func (b *Builder) file(p *part, in bool, dirty, certs map[string]bool) {
	member(b.classes, p.class, p.age.Name, in)
	for _, used := range p.uses {
		member(b.users, used, p.age.Name, in)
	}
	for host := range p.names() {
		dirty[host] = true
		if b.hosts[host] == nil {
			b.hosts[host] = &state{}
		}
	}
	for host := range p.names() {
		s := b.hosts[host]
		s.paths = enter(s.paths, p, p.paths[host], in, precedence)
		s.canaries = enter(s.canaries, p, p.canaries[host], in, seniority)
		if len(p.paths[host]) > 0 && (p.secured[host] || p.secured[wildcardOf(host)]) {
			if s.secured--; in {
				s.secured += 2
			}
		}
		if target, is := p.aliases[host]; is {
			s.aliases = inOrder(s.aliases, p, in)
			b.refer(target, host, in)
		}
	}
	for _, host := range p.www {
		s := b.hosts[otherHalf(host)]
		s.www = inOrder(s.www, p, in)
	}
	for _, c := range p.certs {
		certs[c.Host] = true
	}
	b.certs.file(p, in)
}

// refer notes that the rules of a host are those of another as well.
func (b *Builder) refer(target, alias string, in bool) {
	s := b.hosts[target]
	if s == nil {
		s = &state{}
		b.hosts[target] = s
	}
	if s.others == nil {
		s.others = map[string]int{}
	}
	if in {
		s.others[alias]++
	} else if s.others[alias]--; s.others[alias] <= 0 {
		delete(s.others, alias)
	}
}

func member[K comparable](index map[K]set, key K, name types.NamespacedName, in bool) {
	switch {
	case in && index[key] == nil:
		index[key] = set{name: true}
	case in:
		index[key][name] = true
	default:
		delete(index[key], name)
		if len(index[key]) == 0 {
			delete(index, key)
		}
	}
}

// inOrder puts a part into a list by age, or takes it out.
func inOrder(list []*part, p *part, in bool) []*part {
	i, found := slices.BinarySearchFunc(list, p, func(a, b *part) int { return a.age.Compare(b.age) })
	switch {
	case in && !found:
		return slices.Insert(list, i, p)
	case !in && found:
		return slices.Delete(list, i, i+1)
	}
	return list
}

// enter puts the paths of a part into a list that is in order, or takes them out.
func enter(list []*path, p *part, paths []*path, in bool, order func(a, b *path) int) []*path {
	switch {
	case len(paths) == 0:
		return list
	case !in:
		return slices.DeleteFunc(list, func(one *path) bool { return one.part == p })
	case len(paths) > 32:
		list = append(list, paths...)
		slices.SortFunc(list, order)
		return list
	}
	for _, one := range paths {
		i, _ := slices.BinarySearchFunc(list, one, order)
		list = slices.Insert(list, i, one)
	}
	return list
}

// rebuild makes hosts anew, and notes whose findings may be others by that.
func (b *Builder) rebuild(dirty map[string]bool, concerned set) bool {
	for host := range maps.Clone(dirty) {
		if s := b.hosts[host]; s != nil {
			for alias := range s.others {
				dirty[alias] = true
			}
		}
	}
	var plain, secure []*route.Host
	var gone []string
	for host := range dirty {
		s := b.hosts[host]
		if b.through[host] != nil {
			delete(b.through, host)
			b.passing = nil
		}
		if s == nil {
			gone = append(gone, host)
			continue
		}
		m := b.host(host, s)
		for _, list := range [][]Finding{s.findings, m.findings} {
			for _, f := range list {
				concerned[f.Ingress] = true
			}
		}
		s.findings = m.findings
		if m.through != nil {
			b.through[host], b.passing = m.through, nil
		}
		if m.secure == nil {
			gone = append(gone, host)
		} else {
			plain, secure = append(plain, m.plain), append(secure, m.secure)
		}
		if len(s.paths)+len(s.canaries)+len(s.aliases)+len(s.www)+len(s.others) == 0 {
			delete(b.hosts, host)
		}
	}
	if len(dirty) == 0 {
		return false
	}
	b.plain, b.secure = b.plain.With(plain, gone), b.secure.With(secure, gone)
	return true
}

// host is one host: by its own rules, else as another name of one that has, else as the half that leads to the other.
func (b *Builder) host(name string, s *state) merged {
	port := 0
	if b.ports.HTTPS != DefaultPorts.HTTPS {
		port = int(b.ports.HTTPS)
	}
	m := merge(name, name, s, port)
	m.through = m.passing(name, s)
	owner := ""
	if m.secure != nil && len(s.aliases)+len(s.www) > 0 {
		owner = "rules of " + slices.MinFunc(s.paths, seniority).part.age.Name.String()
	}
	for _, p := range s.aliases {
		if owner != "" {
			m.findings = append(m.findings, taken(p, "server-alias", name, owner))
			continue
		}
		other := merge(name, p.aliases[name], b.hosts[p.aliases[name]], port)
		m.plain, m.secure, owner = other.plain, other.secure, "server-alias of "+p.age.Name.String()
	}
	for _, p := range s.www {
		if owner != "" {
			m.findings = append(m.findings, taken(p, "from-to-www-redirect", name, owner))
			continue
		}
		m.plain = toOtherHalf(name, otherHalf(name), route.Source{Kind: "Ingress", NamespacedName: p.age.Name, Rule: "from-to-www-redirect"})
		m.secure, owner = m.plain, "from-to-www-redirect of "+p.age.Name.String()
	}
	return m
}

func taken(p *part, where, host, owner string) Finding {
	return Finding{Ingress: p.age.Name, Code: HostTaken, Level: Wrong, Where: where, Sentence: "host " + host + " is taken by " + owner, Remedy: "Remove one of them"}
}
