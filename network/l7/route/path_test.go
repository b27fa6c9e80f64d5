package route

import (
	"strings"
	"testing"
)

// However a path is written, rules see one: nobody gets round them.
func TestNormalPath(t *testing.T) {
	for raw, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a/b/": "/a/b/", "/.well-known/x": "/.well-known/x", "/a.b/..c/...": "/a.b/..c/...",
		"//admin": "/admin", "/a//b///": "/a/b/", "///": "/", "/x/../admin": "/admin", "/x/./y": "/x/y", "/x/.": "/x/", "/x/y/..": "/x/",
		"/%61dmin": "/admin", "/a%2Fb": "/a/b", "/a%2f..%2fb": "/b", "/x/%2e%2e/admin": "/admin", "/x/%2E./admin": "/admin",
		"/a%20b": "/a b", "/%252e%252e/a": "/%2e%2e/a", "/%C3%A4": "/ä", "/a+b": "/a+b", "/a/..": "/", "/a;x/../b": "/b",
	} {
		if got, ok := NormalPath(raw); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", raw, got, ok, want)
		}
	}
	for _, raw := range []string{"", "a", "*", "/%", "/%2", "/%zz", "/%0", "/a%00b", "/a\x00b", "/..", "/a/../..", "/%2e%2e", "//..", "/a/../../b"} {
		if got, ok := NormalPath(raw); ok {
			t.Errorf("%q is taken as %q", raw, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { NormalPath("/.well-known/a.b/c") }); n != 0 {
		t.Errorf("a path in normal form costs %v allocations", n)
	}
}

func FuzzNormalPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e//x", "/.%2e/", "//", "/a/./", "/%00", "/a%2f%2fb/..."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		path, ok := NormalPath(raw)
		if !ok {
			return
		}
		if path == "" || path[0] != '/' || strings.Contains(path, "//") || strings.Contains(path, "\x00") {
			t.Fatalf("%q becomes %q", raw, path)
		}
		for _, segment := range strings.Split(path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q becomes %q", raw, path)
			}
		}
		if !strings.Contains(path, "%") {
			if again, ok := NormalPath(path); !ok || again != path {
				t.Fatalf("%q becomes %q, and that %q", raw, path, again)
			}
		}
	})
}

func TestVariables(t *testing.T) {
	value := func(name string) string { return "<" + name + ">" }
	for text, want := range map[string]string{
		"": "", "plain": "plain", "https://$host$request_uri": "https://<host><request_uri>", "${host}-x": "<host>-x",
		"$": "$", "a$": "a$", "$$host": "$<host>", "${host": "${host", "${}": "${}", "$-": "$-", "$arg_a.b": "<arg_a>.b",
	} {
		if got := Expand(text, value); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := strings.Join(Variables("$scheme://${http_host}/$nope"), " "); got != "scheme http_host nope" {
		t.Errorf("variables: %s", got)
	}
	for name, want := range map[string]bool{"host": true, "http_x_y": true, "cookie_a": true, "arg_q": true, "http_": false, "nope": false, "": false} {
		if IsVariable(name) != want {
			t.Errorf("%s is a variable: %v", name, !want)
		}
	}
}
