package pki

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The key of service accounts stays what it is, nobody but root reads it, and one that takes over is put before it.
func TestAccountKeys(t *testing.T) {
	dir := t.TempDir()
	first, err := AccountKeys(dir)
	if err != nil || len(first) != 1 {
		t.Fatalf("%d keys, %v", len(first), err)
	}
	path := filepath.Join(dir, "service-accounts.key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, err := AccountKeys(dir)
	if err != nil || len(again) != 1 || !again[0].Equal(first[0]) {
		t.Fatalf("another key after a restart: %v", err)
	}
	other := t.TempDir()
	if _, err := AccountKeys(other); err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(filepath.Join(other, "service-accounts.key"))
	if err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, slices.Concat(newer, older), 0o600); err != nil {
		t.Fatal(err)
	}
	if both, err := AccountKeys(dir); err != nil || len(both) != 2 || !both[1].Equal(first[0]) {
		t.Errorf("%d keys, %v", len(both), err)
	}
	for _, damaged := range [][]byte{nil, []byte("nothing"), slices.Concat(newer[:40], newer[60:])} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := AccountKeys(dir); err == nil {
			t.Errorf("%q was taken for a key", damaged)
		}
		if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, damaged) {
			t.Errorf("a damaged key was replaced: %v", err)
		}
	}
}
