package volume

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fairlead.dev/fairlead/node/spec"
)

// TestFilesChangeAtOnce: who reads two files of a version through one open directory never sees one of each of two versions.
func TestFilesChangeAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v")
	version := func(text string) []spec.File {
		return []spec.File{{Path: "a", Data: []byte(text), Mode: 0o644}, {Path: "b/c", Data: []byte(text), Mode: 0o600}}
	}
	if err := writeFiles(dir, version("0"), nil); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			at, err := os.OpenRoot(filepath.Join(dir, dataLink))
			if err != nil {
				t.Error(err)
				return
			}
			a, errA := at.ReadFile("a")
			b, errB := at.ReadFile("b/c")
			at.Close()
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("%s and %s at a time", a, b)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || len(text) == 0 {
				t.Errorf("%q, %v", text, err)
			}
		}
	})
	for i := range 200 {
		if err := writeFiles(dir, version(strings.Repeat("x", i+1)), nil); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	reader.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 { // a, b, ..data and where it leads
		t.Errorf("left over: %v, %v", entries, err)
	}
}

// TestOnlyWhatChangesIsWritten: the same files again touch nothing; one that is not there any more goes, with its link.
func TestOnlyWhatChangesIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v")
	files := []spec.File{{Path: "a", Data: []byte("1"), Mode: 0o644}, {Path: "d/e", Data: []byte("2"), Mode: 0o644}}
	current := func() string {
		to, err := os.Readlink(filepath.Join(dir, dataLink))
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	write := func(files []spec.File, group *int64) string {
		t.Helper()
		if err := writeFiles(dir, files, group); err != nil {
			t.Fatal(err)
		}
		return current()
	}
	group := int64(7)
	before := write(files, nil)
	if now := write(files, nil); now != before {
		t.Error("the same files were written again")
	}
	if now := write(files, &group); now == before {
		t.Error("the group may not read them")
	}
	write(files[:1], &group)
	if _, err := os.Lstat(filepath.Join(dir, "d")); !os.IsNotExist(err) {
		t.Errorf("a file that is gone: %v", err)
	}
	// What an earlier version of the program wrote: plain files.
	old := filepath.Join(t.TempDir(), "v")
	if err := os.MkdirAll(filepath.Join(old, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "d/e"} {
		if err := os.WriteFile(filepath.Join(old, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFiles(old, files, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(filepath.Join(old, f.Path)); err != nil || string(text) != string(f.Data) {
			t.Errorf("%s: %q, %v", f.Path, text, err)
		}
	}
}
