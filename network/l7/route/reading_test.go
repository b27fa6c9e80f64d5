package route

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// rows are those of the table of a document that begins with a line.
func rows(t *testing.T, document, head string) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), head+"\n")
	if !found {
		t.Fatalf("%s has no table %q", document, head)
	}
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, c := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(c), "`")
		}
		all = append(all, cells)
	}
	return all
}

// TestDocumentedPaths: what docs/ingress.md says of paths that can be read in several ways is so.
func TestDocumentedPaths(t *testing.T) {
	all := rows(t, "../../../docs/ingress.md", "| sent | rules look at | backends get |")
	if len(all) < 12 {
		t.Fatalf("the table has %d rows", len(all))
	}
	for _, row := range all {
		want := fmt.Sprintf("%s -> %s", row[1], row[2])
		r, err := ReadPath(row[0])
		got := "400 -> nothing"
		if err == nil {
			got = fmt.Sprintf("%s -> %s", strings.Join(slices.Concat([]string{r.Normal}, r.Others), "` and `"), r.Forward)
		}
		if got != want {
			t.Errorf("%s: %s, documented is %s", row[0], got, want)
		}
		if plain, ok := PlainPath(row[0]); ok != (err == nil && len(r.Others) == 0 && r.Forward == row[0] && !strings.Contains(row[0], "//") && !strings.Contains(row[0], "%2e")) || ok && plain != r.Normal {
			t.Errorf("%s is plain: %v, as %q", row[0], ok, plain)
		}
	}
}

// A path of two meanings is for a rule only if it is for that rule in every meaning.
func TestFindSure(t *testing.T) {
	rule := func(path string) *Rule {
		return &Rule{Source: Source{Rule: path}, Match: Match{Path: Path{Value: path}}}
	}
	hosts := NewHosts([]*Host{{Rules: []*Rule{rule("/public/deep"), rule("/admin"), rule("/public"), rule("/")}}})
	for raw, want := range map[string]string{
		"/a%2Fb": "/", "/@scope%2Fname": "/", "/admin%2Fx": "400", "/public/a%2Fb": "/public", "/public%2Fx": "400", "/public/deep%2Fx": "400",
		"/page;id=1": "/", "/admin;x=1/y": "400", "/public;x/y": "400", "/admin/y;x=1": "/admin", "/public/..%2Fadmin": "/admin", "/x/../admin": "/admin",
		"/a%3Bb": "/", "/admin%3Bx/y": "400", "/public/..;/admin": "400", "/public/..%3b/admin": "400", "/public\\..\\admin": "400", "/public/%5cadmin": "400",
	} {
		got := "400"
		if r, err := ReadPath(raw); err == nil {
			if found, sure := hosts.FindSure(&Request{Path: r.Normal}, r.Others); sure {
				got = found.Source.Rule
			}
		}
		if got != want {
			t.Errorf("%s meets %s, want %s", raw, got, want)
		}
	}
}

func FuzzReadPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e//x", "/.%2e/", "//", "/a;b/../c", "/a%2f;x/..", "/%252f", "/a%5c", "/..;", "/a/%3b;/."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		plain, ok := PlainPath(raw)
		r, err := ReadPath(raw)
		if ok && (err != nil || r.Normal != plain || r.Forward != raw || len(r.Others) > 0) {
			t.Fatalf("%q is plain as %q, and read as %+v, %v", raw, plain, r, err)
		}
		if err != nil {
			return
		}
		again, err := ReadPath(r.Forward)
		if err != nil || again.Normal != r.Normal || again.Forward != r.Forward {
			t.Fatalf("%q is forwarded as %q, and that read as %+v, %v; not as %+v", raw, r.Forward, again, err, r)
		}
	})
}
