package route

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// linear is the second opinion: every host and every rule, one after the other, with no index and no shares.
func linear(hosts map[string]*Host, r *Request) *Rule {
	names := []string{r.Host}
	for at, first := strings.IndexByte(r.Host, '.'), true; at >= 0; first = false {
		name := "*" + r.Host[at:]
		if host := hosts[name]; host != nil && r.Host[at-min(at, 1)] != '.' && at > 0 && (first || !host.OneLabel) {
			names = append(names, name)
		}
		next := strings.IndexByte(r.Host[at+1:], '.')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	for _, name := range append(names, "") {
		host := hosts[name]
		if host == nil {
			continue
		}
		for _, rule := range host.Rules {
			if rule.Match.holds(r) {
				return rule
			}
		}
		if host.Final {
			return nil
		}
	}
	return nil
}

// values are a request's, by "h:name", "q:name" and "c:name".
type values map[string]string

func (v values) Header(name string) (string, bool)    { s, is := v["h:"+name]; return s, is }
func (v values) Parameter(name string) (string, bool) { s, is := v["q:"+name]; return s, is }
func (v values) Cookie(name string) (string, bool)    { s, is := v["c:"+name]; return s, is }

var (
	someHosts    = []string{"a.x", "b.x", "*.x", "*.a.x", "*.b.a.x", "c.b.a.x", ""}
	someSegments = []string{"a", "b", "ab", "a.b", "c"}
)

func somePath(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(4) {
		b.WriteString("/" + someSegments[r.IntN(len(someSegments))])
	}
	if b.Len() == 0 || r.IntN(4) == 0 {
		b.WriteString("/")
	}
	return b.String()
}

func someHost(r *rand.Rand, name string) *Host {
	h := &Host{Name: name, OneLabel: r.IntN(2) == 0, Final: r.IntN(2) == 0}
	for i := range r.IntN(30) {
		rule := &Rule{Source: Source{Rule: fmt.Sprint(i)}}
		m := &rule.Match
		m.Path = Path{Kind: []PathKind{Prefix, Prefix, Exact, Start, Regex}[r.IntN(5)], Value: somePath(r)}
		if m.Path.Kind == Regex {
			m.Path.Pattern = regexp.MustCompile("^(?i:" + m.Path.Value + ")")
		}
		if r.IntN(3) == 0 {
			m.Method = []string{"GET", "POST"}[r.IntN(2)]
		}
		if r.IntN(4) == 0 {
			m.Headers = []ValueMatch{{Name: "X", Value: "1", Absent: r.IntN(3) == 0}}
		}
		if r.IntN(6) == 0 {
			m.Query = []ValueMatch{{Name: "q", Pattern: regexp.MustCompile("^[01]$")}}
		}
		if r.IntN(6) == 0 {
			m.Cookies = []ValueMatch{{Name: "c", Value: "always"}}
		}
		h.Rules = append(h.Rules, rule)
	}
	return h
}

func someRequest(r *rand.Rand) *Request {
	host := strings.Replace(someHosts[r.IntN(len(someHosts))], "*", someSegments[r.IntN(len(someSegments))], 1)
	v := values{}
	for _, name := range []string{"h:X", "q:q", "c:c"} {
		if r.IntN(2) == 0 {
			v[name] = []string{"1", "always", "2"}[r.IntN(3)]
		}
	}
	return &Request{Host: host, Method: []string{"GET", "POST", "PUT"}[r.IntN(3)], Path: somePath(r), Values: v}
}

// Whatever changes, each request meets the rule that it meets when all rules are tried one by one, and what was made before stays
// as it was.
func TestFindIsAsIfAllWereTried(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		now, h := map[string]*Host{}, NewHosts(nil)
		var before *Hosts
		var beforeNow map[string]*Host
		for range 12 {
			before, beforeNow = h, maps.Clone(now)
			var changed []*Host
			var removed []string
			for _, name := range someHosts {
				switch r.IntN(4) {
				case 0:
					now[name] = someHost(r, name)
					changed = append(changed, now[name])
				case 1:
					delete(now, name)
					removed = append(removed, name)
				}
			}
			h = h.With(changed, removed)
			for range 100 {
				q := someRequest(r)
				if got, want := h.Find(q), linear(now, q); got != want {
					t.Fatalf("seed %d: %+v meets %v, want %v", seed, q, got, want)
				}
				if got, want := before.Find(q), linear(beforeNow, q); got != want {
					t.Fatalf("seed %d: what was there before has changed: %+v meets %v, want %v", seed, q, got, want)
				}
			}
		}
	}
}

// Thousands of names are found, replaced and removed one by one, and Each gives those that are left.
func TestManyNames(t *testing.T) {
	h := NewHosts(nil)
	name := func(i int) string { return fmt.Sprintf("h%d.example.org", i) }
	for i := range 3000 {
		h = h.With([]*Host{{Name: name(i), Rules: []*Rule{{Source: Source{Rule: name(i)}}}}}, nil)
	}
	for i := range 3000 {
		if i%3 == 0 {
			h = h.With(nil, []string{name(i), "never.example.org"})
		}
	}
	var left []string
	for host := range h.Each {
		left = append(left, host.Name)
	}
	if len(left) != 2000 || h.exact.count != 2000 || len(slices.Compact(slices.Sorted(slices.Values(left)))) != 2000 {
		t.Fatalf("%d names are left, counted %d, want 2000", len(left), h.exact.count)
	}
	for i := range 3000 {
		rule := h.Find(&Request{Host: name(i), Path: "/"})
		if i%3 == 0 && rule != nil || i%3 != 0 && (rule == nil || rule.Source.Rule != name(i)) {
			t.Fatalf("%s meets %v", name(i), rule)
		}
	}
}

// prefixed are rules for n prefixes of different depth on one host, in order of precedence, beside some that only expressions or
// headers tell apart.
func prefixed(n int) *Hosts {
	host := &Host{Name: "shop.example.org"}
	for i := range n {
		host.Rules = append(host.Rules, &Rule{Match: Match{Path: Path{Value: fmt.Sprintf("/api/v1/%d/things/%d", i%100, i)}}})
	}
	host.Rules = append(host.Rules, &Rule{Match: Match{Path: Path{Value: "/api"}}}, &Rule{Match: Match{Path: Path{Value: "/"}}})
	return NewHosts([]*Host{host})
}

func TestFindAllocatesNothing(t *testing.T) {
	h := prefixed(10_000)
	r := &Request{Host: "shop.example.org", Method: "GET", Path: "/api/v1/99/things/9999/parts/7"}
	if rule := h.Find(r); rule.Match.Path.Value != "/api/v1/99/things/9999" {
		t.Fatalf("meets %+v", rule)
	}
	if n := testing.AllocsPerRun(100, func() { h.Find(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		h := prefixed(n)
		r := &Request{Host: "shop.example.org", Method: "GET", Path: fmt.Sprintf("/api/v1/%d/things/%d/parts/7", (n-1)%100, n-1)}
		b.Run(fmt.Sprint(n, "rules"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Find(r)
			}
		})
	}
	h := prefixed(10_000)
	r := &Request{Host: "shop.example.org", Method: "GET", Path: strings.Repeat("/a", 4000)}
	b.Run("hostile path", func(b *testing.B) {
		for b.Loop() {
			h.Find(r)
		}
	})
}

func BenchmarkWith(b *testing.B) {
	var all []*Host
	for i := range 10_000 {
		all = append(all, &Host{Name: fmt.Sprintf("h%d.example.org", i), Rules: []*Rule{{}}})
	}
	h := NewHosts(all)
	b.ReportAllocs()
	for b.Loop() {
		h = h.With([]*Host{{Name: "h77.example.org", Rules: []*Rule{{}}}}, nil)
	}
}
