package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccessLog: the newest lines are there, in two files at most, which are root's alone.
func TestAccessLog(t *testing.T) {
	dir := t.TempDir()
	l := &accessLog{path: filepath.Join(dir, accessFile), most: 100}
	line := func(c string) string { return strings.Repeat(c, 39) + "\n" }
	for _, c := range []string{"a", "b", "c", "d", "e"} {
		if n, err := l.Write([]byte(line(c))); n != 40 || err != nil {
			t.Fatal(n, err)
		}
	}
	again := &accessLog{path: l.path, most: 100} // of the next life
	if _, err := again.Write([]byte(line("f"))); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != 2 {
		t.Errorf("there are %v, %v", files, err)
	}
	for name, want := range map[string]string{accessFile: line("e") + line("f"), accessFile + ".1": line("c") + line("d")} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s has %q, %v, want %q", name, got, err, want)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// A place that is none loses lines, and nothing else.
	if _, err := (&accessLog{path: filepath.Join(dir, "no", "where"), most: 100}).Write([]byte(line("g"))); err == nil {
		t.Error("a line was written nowhere")
	}
}
