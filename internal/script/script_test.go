package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestEngine plays scripts that need no cluster. A shell script takes the place of the program.
func TestEngine(t *testing.T) {
	program := filepath.Join(t.TempDir(), "fairlead")
	text := "#!/bin/sh\n[ \"$1\" = kubectl ] && shift && echo kubectl \"$@\" && exit\necho \"$@\"\n"
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, Lab{Fairlead: program, Dir: "/data"}.Params("testdata"))
}

func TestLike(t *testing.T) {
	for _, c := range []struct{ text, form, want string }{
		{"a\nb\n", "a\nb", ""},
		{"a  \n\n", "a", ""},
		{"NAME   AGE\nweb-5f7d-x2   3d17h\n", "NAME  AGE\nweb-{id}-{id}  {age}", ""},
		{"10.244.0.5:80,10.244.1.5:80", "{ip}:80,{ip}:80", ""},
		{"[fd00:10:244::5]:80 ::1", "[{ip6}]:80 {ip6}", ""},
		{"12", "{ip6}", "line 1\n got: 12\nwant: {ip6}"},
		{"a (b) [c]", "a (b) [c]", ""},
		{"a\nb", "a", "line 2 is too much: b"},
		{"a", "a\nb", "line 2 is missing: b"},
		{"a b", "a  b", "line 1\n got: a b\nwant: a  b"},
		{"a   b", "a b", "line 1\n got: a   b\nwant: a b"},
		{"10.244.0.5", "{int}", "line 1\n got: 10.244.0.5\nwant: {int}"},
		{"x", "{nonsense}", "line 1 of the form: {nonsense} is no placeholder"},
	} {
		if got := like(c.text, c.form); got != c.want {
			t.Errorf("like(%q, %q) = %q, want %q", c.text, c.form, got, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	got := compare([]string{"a", "b", "b", "c"}, []string{"b", "c", "c", "d"})
	if strings.Join(got, "|") != "+ c|+ d|- a|- b" {
		t.Errorf("got %v", got)
	}
	if got := compare([]string{"a", "a"}, []string{"a", "a"}); len(got) != 0 {
		t.Errorf("equal lists differ: %v", got)
	}
}
