package store

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamagedFiles: a start over files that are damaged ends with a sentence that names the file and what can be done, and
// changes nothing; never with a hang, a panic, or an empty cluster.
func TestDamagedFiles(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, 500)
	logs, database := "etcd/member/wal/*.wal", "etcd/member/snap/db"
	for name, damage := range map[string]struct {
		do   func(t *testing.T, dir string)
		says string // which file, in the sentence
	}{
		"log of no length":          {cut(logs, 0, 1), "etcd/member/wal"},
		"log cut in the middle":     {cut(logs, 1, 2), "etcd/member/wal"},
		"log cut at its beginning":  {cut(logs, 1, 100), "etcd/member/wal"},
		"log zeroed":                {zero(logs, 0, 1), "etcd/member/wal"},
		"log zeroed from a half on": {zero(logs, 1, 2), "etcd/member/wal"},
		"log overwritten":           {scribble(logs), "etcd/member/wal"},
		"log missing":               {remove(logs), "etcd/member/wal"},
		"directory of logs missing": {remove("etcd/member/wal"), "etcd/member/wal"},
		"database of no length":     {cut(database, 0, 1), database},
		"database halved":           {cut(database, 1, 2), database},
		"database zeroed":           {zero(database, 0, 1), database},
		"database half zeroed":      {zero(database, 1, 2), "etcd"},
		"database overwritten":      {scribble(database), "etcd"},
		"database missing":          {remove(database), database},
		"database's place missing":  {remove("etcd/member/snap"), database},
		"member missing":            {remove("etcd/member"), "etcd is missing"},
		"all missing":               {remove("etcd"), "etcd is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			damage.do(t, dir)
			before := sizes(t, dir)
			out, err := restart(t, dir, false)
			if err == nil || strings.Contains(out, "goroutine ") || strings.HasPrefix(out, "holds") {
				t.Fatalf("%v\n%s", err, out)
			}
			_, sentence, _ := strings.Cut(out, "store: ")
			sentence, _, _ = strings.Cut(sentence, "\n")
			t.Log(sentence)
			if !strings.Contains(sentence, damage.says) || !strings.Contains(sentence, "put back a copy") {
				t.Errorf("%s\n%s", sentence, out)
			}
			if after := sizes(t, dir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// fill serves a store in dir, writes n keys and stops.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	s, stop := run(t, dir)
	c := s.Open()
	for i := range n {
		if _, err := c.Put(t.Context(), fmt.Sprintf("k%d", i), strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	stop()
}

// TestEmptyClusterOnPurpose: with the mark gone as well, an empty directory is an empty store.
func TestEmptyClusterOnPurpose(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	for _, name := range []string{"etcd", "etcd.born"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := run(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got, err := client(t, s).Get(ctx, "k0"); err != nil || got.Count != 0 {
		t.Errorf("%v %v", got, err)
	}
}

// TestStoreOfAnEarlierRelease: one without a mark is served, and has one afterwards.
func TestStoreOfAnEarlierRelease(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	if err := os.Remove(filepath.Join(dir, "etcd.born")); err != nil {
		t.Fatal(err)
	}
	_, stop := run(t, dir)
	stop()
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if err := New(dir, slog.New(slog.DiscardHandler)).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "etcd is missing") {
		t.Error(err)
	}
}

// each applies change to the files of a pattern.
func each(pattern string, change func(path string, size int64) error) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err == nil {
				err = change(path, used(path, info.Size()))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// used is the size of a file without the zeros at its end, which etcd reserves.
func used(path string, size int64) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return size
	}
	return int64(len(strings.TrimRight(string(text), "\x00")))
}

func cut(pattern string, of, parts int64) func(*testing.T, string) {
	return each(pattern, func(path string, size int64) error { return os.Truncate(path, size*of/parts) })
}

func zero(pattern string, of, parts int64) func(*testing.T, string) {
	return each(pattern, func(path string, size int64) error {
		return overwrite(path, make([]byte, size-size*of/parts), size*of/parts)
	})
}

func scribble(pattern string) func(*testing.T, string) {
	return each(pattern, func(path string, size int64) error {
		return overwrite(path, []byte(strings.Repeat("scribble", 1000)), size/2)
	})
}

func overwrite(path string, text []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(text, at)
	return err
}

func remove(pattern string) func(*testing.T, string) {
	return each(pattern, func(path string, _ int64) error { return os.RemoveAll(path) })
}

// sizes lists etcd's files.
func sizes(t *testing.T, dir string) string {
	var list strings.Builder
	err := filepath.WalkDir(filepath.Join(dir, "etcd"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, _ := d.Info()
			fmt.Fprintln(&list, path, info.Size())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}
