package route

import "testing"

// I38-I41: which host's rules a request meets; a wildcard covers one label in Ingress and any number in Gateway API.
func TestI38_HostsByPrecedence(t *testing.T) {
	rule := func(name string) []*Rule { return []*Rule{{Source: Source{Rule: name}}} }
	h := NewHosts([]*Host{
		{Name: "foo.com", Rules: rule("exact")},
		{Name: "*.foo.com", OneLabel: true, Rules: rule("one")},
		{Name: "*.bar.com", Rules: rule("deep")},
		{Name: "*.a.bar.com", Rules: rule("deeper")},
		{Rules: rule("any")},
	})
	for host, want := range map[string]string{
		"foo.com": "exact", "x.foo.com": "one", "y.x.foo.com": "any", "x.bar.com": "deep", "y.x.bar.com": "deep",
		"x.a.bar.com": "deeper", "a.bar.com": "deep", "bar.com": "any", ".foo.com": "any", "": "any",
	} {
		if got := h.Find(&Request{Host: host, Path: "/"}); got == nil || got.Source.Rule != want {
			t.Errorf("%q meets %v, want %s", host, got, want)
		}
	}
}

// I30-I35: exact paths are literal; prefixes go element by element and ignore a slash at their end.
func TestI30_Paths(t *testing.T) {
	for _, c := range []struct {
		kind     PathKind
		value    string
		yes, not []string
	}{
		{Exact, "/foo", []string{"/foo"}, []string{"/foo/", "/FOO", "/bar", "/"}},
		{Exact, "/foo/", []string{"/foo/"}, []string{"/foo"}},
		{Prefix, "/foo", []string{"/foo", "/foo/", "/foo/x"}, []string{"/FOO", "/foobar", "/"}},
		{Prefix, "/aaa/bbb/", []string{"/aaa/bbb", "/aaa/bbb/", "/aaa/bbb/c"}, []string{"/aaa/bbbc"}},
		{Prefix, "/", []string{"/", "/x", "/x/y"}, nil},
	} {
		p := Path{Kind: c.kind, Value: c.value}
		for _, path := range c.yes {
			if !p.holds(path) {
				t.Errorf("%+v does not hold for %s", p, path)
			}
		}
		for _, path := range c.not {
			if p.holds(path) {
				t.Errorf("%+v holds for %s", p, path)
			}
		}
	}
}

// Clients are asked for a certificate for the names that are listed, a wildcard covering one label.
func TestAsks(t *testing.T) {
	some, every, none := Termination{Ask: []string{"*.x", "a.y"}}, Termination{Ask: []string{"", "a.y"}}, Termination{}
	for sni, want := range map[string]bool{"a.y": true, "b.x": true, "c.b.x": false, "x": false, "y": false, "": false, "*.": false} {
		if some.Asks(sni) != want || !every.Asks(sni) || none.Asks(sni) {
			t.Errorf("%q: %t of some, want %t; %t of every, %t of none", sni, some.Asks(sni), want, every.Asks(sni), none.Asks(sni))
		}
	}
}

// I44: a certificate for the very name goes before one for its wildcard, which covers one label.
func TestI44_CertificatesBySNI(t *testing.T) {
	term := Termination{}
	for _, host := range []string{"", "", "*.a.x", "*.x", "a.x", "b.x", "b.x"} {
		term.Certificates = append(term.Certificates, Certificate{Host: host})
	}
	for sni, want := range map[string][3]int{
		"": {0, 0, 2}, "a.x": {1, 1, 2}, "b.x": {2, 1, 2}, "c.x": {0, 1, 2}, "y.a.x": {0, 1, 2}, "z.y.a.x": {0, 0, 2}, "x": {0, 0, 2}, "*.x": {1, 1, 2}, ".x": {0, 0, 2},
	} {
		exact, wildcard, any := term.For(sni)
		if got := [3]int{len(exact), len(wildcard), len(any)}; got != want {
			t.Errorf("%q: %v, want %v", sni, got, want)
		}
	}
}
