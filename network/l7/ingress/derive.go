package ingress

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// World answers what there is at the moment. A function that is nil cannot tell, and nothing is found missing by it.
type World struct {
	Ingress func(types.NamespacedName) *networkingv1.Ingress
	Class   func(name string) *networkingv1.IngressClass
	Service func(types.NamespacedName) *corev1.Service
	// Secret is asked for the authorities that backends are verified with; it has only to know Secrets that
	// api/ingressrefs lists.
	Secret func(types.NamespacedName) *corev1.Secret
	// ConfigMap is asked for the headers of answers; it has only to know ConfigMaps that api/ingressrefs lists.
	ConfigMap func(types.NamespacedName) *corev1.ConfigMap
}

// part is what one Ingress contributes, whatever others do. It does not change.
type part struct {
	age      api.Age
	class    string
	served   bool // the class is ours
	toHTTPS  redirection
	canary   *canary // nil: it is none
	balance  route.Balance
	paths    map[string][]*path // by host
	canaries map[string][]*path // instead, of one that is a canary
	aliases  map[string]string  // the host that each other name stands for
	www      []string           // hosts that are redirected to the one with, or without, www.
	secured  map[string]bool    // hosts in its TLS
	certs    []route.Certificate
	certAt   []string                 // where each is written
	asks     bool                     // clients for a certificate
	streams  map[string]*route.Stream // by host: where its connections go as bytes
	findings []Finding
	uses     []types.NamespacedName // Services, Secrets and ConfigMaps; their changes concern it
}

// path is a rule with what its order among others follows from.
type path struct {
	part  *part
	rule  *route.Rule
	where string
	as    string // how it is written: its type and path
	place int    // among those of its part
	rank  rank
	plain bool // is served without TLS whatever is asked for
}

// rank is which rules come first; the lowest is the first.
type rank uint8

const (
	rankRoot    rank = iota // the redirect of app-root
	rankExact               // by the whole path
	rankBegins              // by what it begins with, or an expression
	rankDefault             // the default backend
)

// derivation is the making of a part.
type derivation struct {
	*part
	settings *settings
	world    World
	ing      *networkingv1.Ingress
	base     route.Action
	made     int // paths
}

// derive makes the part of an Ingress.
func derive(ing *networkingv1.Ingress, world World) *part {
	p := &part{age: api.AgeOf(ing), class: api.ClassOf(ing)}
	d := &derivation{part: p, world: world, ing: ing}
	if !d.ours() {
		return p
	}
	p.served = true
	var lines []Line
	d.settings, lines = read(ing)
	p.findings = append(p.findings, findings(ing, lines)...)
	p.balance = d.settings.balance
	if s := d.settings; s.canary.on { // for everything else the Ingress counts whose canary it is
		is := s.canary
		p.canary, p.canaries = &is, map[string][]*path{}
		d.settings = &settings{canary: is}
	} else {
		p.paths, p.toHTTPS = map[string][]*path{}, s.redirection(p.class)
	}
	d.base = d.settings.action()
	d.headers()
	d.certificates()
	d.authentication()
	d.mirror()
	d.passthrough()
	d.rules()
	d.otherNames()
	d.tls()
	return p
}

// ours reports whether an Ingress is this program's to serve (I46).
func (d *derivation) ours() bool {
	if d.world.Class == nil {
		return true
	}
	if d.class == "" {
		return false
	}
	class := d.world.Class(d.class)
	if class == nil {
		d.find(ClassMissing, Wrong, "spec.ingressClassName", fmt.Sprintf("there is no IngressClass %s, so nobody serves this Ingress", d.class),
			"Create the class, or name one that 'kubectl get ingressclasses' lists")
	}
	return api.ServesClass(class)
}

func (d *derivation) find(code string, level Level, where, sentence, remedy string) {
	d.findings = append(d.findings, Finding{Ingress: api.Name(d.ing), Code: code, Level: level, Where: where, Sentence: sentence, Remedy: remedy})
}

// rules makes the paths of every host that the Ingress names.
func (d *derivation) rules() {
	spec := &d.ing.Spec
	hosts := map[string]bool{}
	for i := range spec.Rules {
		r := &spec.Rules[i]
		hosts[r.Host] = true
		if r.HTTP == nil {
			continue
		}
		for j := range r.HTTP.Paths {
			d.path(r.Host, &r.HTTP.Paths[j], fmt.Sprintf("spec.rules[%d].http.paths[%d]", i, j))
		}
	}
	if len(spec.Rules) == 0 {
		hosts[""] = true // I42: all requests that no other Ingress has a host for
	}
	if d.canary != nil {
		return
	}
	if spec.DefaultBackend != nil {
		action := d.action(spec.DefaultBackend, "spec.defaultBackend")
		for host := range hosts { // I43
			d.paths[host] = append(d.paths[host], d.make(rankDefault, route.Path{Kind: route.Prefix, Value: "/"}, action, "spec.defaultBackend"))
		}
	}
	if root := d.settings.appRoot; root != "" && d.settings.closed == "" {
		redirect := route.Action{Quiet: d.settings.quiet, Redirect: &route.Redirect{Status: 302, Path: &route.PathRewrite{Full: &root}}}
		for host := range hosts {
			d.paths[host] = append(d.paths[host], d.make(rankRoot, route.Path{Kind: route.Exact, Value: "/"}, redirect, "app-root"))
		}
	}
}

func (d *derivation) path(host string, from *networkingv1.HTTPIngressPath, where string) {
	as := string(d.pathType(from)) + " " + from.Path
	if d.canary != nil { // the conditions are those of the Ingress whose canary it is
		one := d.make(rankBegins, route.Path{}, route.Action{Backends: []route.Backend{d.backend(&from.Backend, where+".backend")}}, where)
		one.as = as
		d.canaries[host] = append(d.canaries[host], one)
		return
	}
	match, ok := d.match(from, where)
	if !ok {
		return
	}
	rank := rankBegins
	if match.Kind == route.Exact {
		rank = rankExact
	}
	action := d.action(&from.Backend, where+".backend")
	if action.Respond == nil && action.Redirect == nil {
		d.rewrite(&action, &match, from.Path, where)
	}
	one := d.make(rank, match, action, where)
	one.as = as
	d.paths[host] = append(d.paths[host], one)
}

func (d *derivation) make(rank rank, match route.Path, action route.Action, where string) *path {
	d.made++
	return &path{
		part: d.part, where: where, rank: rank, place: d.made,
		plain: rank == rankRoot || action.Redirect != nil || strings.HasPrefix(match.Value, challenge),
		rule: &route.Rule{
			Source: route.Source{Kind: "Ingress", NamespacedName: d.age.Name, Rule: where},
			Match:  route.Match{Path: match},
			Action: action,
		},
	}
}

func (d *derivation) pathType(from *networkingv1.HTTPIngressPath) networkingv1.PathType {
	if from.PathType == nil {
		return networkingv1.PathTypeImplementationSpecific
	}
	return *from.PathType
}

// challenge is where authorities look for the proof that somebody has a host before it has a certificate (RFC 8555, 8.3). As in
// ingress-nginx, it is never sent to HTTPS.
const challenge = "/.well-known/acme-challenge"

// match is the condition that a path is.
func (d *derivation) match(from *networkingv1.HTTPIngressPath, where string) (route.Path, bool) {
	kind, text := d.pathType(from), from.Path
	if text == "" {
		text = "/"
	}
	regex := d.settings.regex || d.settings.rewrite != "" && d.settings.rewrite != text
	if regex && (kind == networkingv1.PathTypeImplementationSpecific && text != "/" || kind == networkingv1.PathTypePrefix && isExpression(text)) {
		re, problem := compile("(?i)^" + text)
		if problem != "" {
			d.find(PathWrong, Wrong, where+".path", fmt.Sprintf("%q %s", shortened(text), problem), "Write it without what RE2 lacks; until then requests for it go where they would without this path")
			return route.Path{}, false
		}
		return route.Path{Kind: route.Regex, Value: text, Pattern: re}, true
	}
	normal, ok := route.NormalPath(text)
	if !ok {
		d.find(PathWrong, Wrong, where+".path", fmt.Sprintf("%q is no path that a request can have", shortened(text)), "Write one that begins with / and in which a percent sign is written %25")
		return route.Path{}, false
	}
	switch {
	case kind == networkingv1.PathTypeExact:
		return route.Path{Kind: route.Exact, Value: normal}, true
	case kind == networkingv1.PathTypePrefix || normal == "/":
		return route.Path{Kind: route.Prefix, Value: normal}, true
	}
	return route.Path{Kind: route.Start, Value: normal}, true
}

// rewrite has an action change the path, as rewrite-target says. One that is the path itself changes nothing, as in ingress-nginx.
func (d *derivation) rewrite(a *route.Action, match *route.Path, written, where string) {
	target := d.settings.rewrite
	if target == "" || target == written {
		return
	}
	change := &route.PathRewrite{Full: &target}
	if strings.Contains(target, "$") {
		change = &route.PathRewrite{Captures: &target}
		groups := 0
		if match.Pattern != nil {
			groups = match.Pattern.NumSubexp()
		}
		if n := highestGroup(target); n > groups {
			d.find(AnnotationWrong, Wrong, "rewrite-target", fmt.Sprintf("has $%d, and %s has %d groups: it stands for nothing there", n, where, groups), "Put parentheses around what of the path is to stay")
		}
	}
	host := ""
	if a.Rewrite != nil {
		host = a.Rewrite.Host
	}
	a.Rewrite = &route.Rewrite{Host: host, Path: change}
}

// highestGroup is the highest n of the $n in a text.
func highestGroup(text string) int {
	highest := 0
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '$' && text[i+1] >= '1' && text[i+1] <= '9' {
			highest = max(highest, int(text[i+1]-'0'))
		}
	}
	return highest
}

// tls lists the certificates (I44).
func (d *derivation) tls() {
	if len(d.ing.Spec.TLS) > 0 {
		d.secured = map[string]bool{}
	}
	for i := range d.ing.Spec.TLS {
		t := &d.ing.Spec.TLS[i]
		for _, host := range t.Hosts {
			d.secured[host] = true
		}
		if len(t.Hosts) == 0 {
			for host := range d.paths {
				d.secured[host] = true
			}
		}
		if t.SecretName == "" {
			continue
		}
		hosts := t.Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			d.certs = append(d.certs, route.Certificate{Host: host, Secret: types.NamespacedName{Namespace: d.ing.Namespace, Name: t.SecretName}})
			d.certAt = append(d.certAt, fmt.Sprintf("spec.tls[%d]", i))
		}
	}
}
