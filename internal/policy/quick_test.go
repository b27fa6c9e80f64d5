package policy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestQuick: `make quick` tests every package that only computes.
func TestQuick(t *testing.T) {
	root, files := repository(t)
	list := regexp.MustCompile(`(?m)^QUICK = ((?:.*\\\n)*.*)$`).FindStringSubmatch(text(t, root, "Makefile"))
	if list == nil {
		t.Fatal("the Makefile has no QUICK")
	}
	quick := strings.Fields(strings.ReplaceAll(list[1], "\\\n", " "))
	for _, pkg := range purePackages {
		tested := slices.ContainsFunc(files, func(f File) bool { return f.AST != nil && f.Test() && f.Package() == pkg })
		named := slices.ContainsFunc(quick, func(q string) bool {
			below, all := strings.CutSuffix(q, "/...")
			return q == "./"+pkg || all && within("./"+pkg, below)
		})
		if tested && !named {
			t.Errorf("make quick does not test ./%s, which only computes", pkg)
		}
	}
}
