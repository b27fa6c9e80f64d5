package debian

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFetchUnpackAndNeeds(t *testing.T) {
	ctx := t.Context()
	libs, err := Libraries(ctx, "nftables")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"libc6", "libnftables1", "libnftnl11"} {
		if !slices.Contains(libs, want) {
			t.Errorf("libraries of nftables are %v, without %s", libs, want)
		}
	}
	for _, other := range []string{"nftables", "dpkg"} {
		if slices.Contains(libs, other) {
			t.Errorf("libraries of nftables are %v, with %s", libs, other)
		}
	}
	cache, root := t.TempDir(), t.TempDir()
	debs, err := Fetch(ctx, cache, "zlib1g", "libc6")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(debs[0])
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Fetch(ctx, cache, "zlib1g", "libc6"); err != nil || !slices.Equal(again, debs) {
		t.Errorf("the second fetch gives %v, %v", again, err)
	}
	if after, err := os.Stat(debs[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("the second fetch downloaded again: %v", err)
	}
	if err := Unpack(ctx, root, debs...); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(root, "lib/*/libz.so.1"))
	if err != nil || len(found) != 1 {
		t.Fatalf("libz is %v, %v", found, err)
	}
	rel, err := filepath.Rel(root, found[0])
	if err != nil {
		t.Fatal(err)
	}
	names, err := Needs(root, rel)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(names, " ")
	for _, want := range []string{"/libz.so.1 ", "/libz.so.1.2", "/libc.so.6", "/ld-linux-"} {
		if !strings.Contains(text+" ", want) {
			t.Errorf("needs of libz are %s, without %s", text, want)
		}
	}
	if err := os.Remove(filepath.Join(filepath.Dir(found[0]), "libc.so.6")); err != nil {
		t.Fatal(err)
	}
	if _, err := Needs(root, rel); err == nil || !strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("without its C library the error is %v", err)
	}
}

func TestFetchNamesAMissingPackage(t *testing.T) {
	_, err := Fetch(t.Context(), t.TempDir(), "no-such-package-at-all")
	if err == nil || !strings.Contains(err.Error(), "no-such-package-at-all") {
		t.Errorf("error is %v", err)
	}
}
