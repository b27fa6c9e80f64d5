package policy

import (
	"go/ast"
	"go/format"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Budgets, in lines. They are about reading: a file is one sitting, a function one screen.
const (
	fileBudget     = 400
	functionBudget = 60
)

const module = "fairlead.dev/fairlead"

// tree is the repository, read once.
var tree = sync.OnceValues(func() ([]File, error) {
	root, err := top()
	if err != nil {
		return nil, err
	}
	return Read(root)
})

func top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return Root(dir)
}

func repository(t *testing.T) (root string, files []File) {
	t.Helper()
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	if files, err = tree(); err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("only %d files found below %s", len(files), root)
	}
	return root, slices.Clone(files)
}

func goFiles(t *testing.T) []File {
	t.Helper()
	_, files := repository(t)
	return slices.DeleteFunc(files, func(f File) bool { return f.AST == nil })
}

// within reports whether a package is one of those named, or below one.
func within(pkg string, parents ...string) bool {
	for _, p := range parents {
		if pkg == p || strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}

// importRules say who may import what: an import that matches prefix is allowed only in the packages
// in by and below them, and in any test file where testsMay says so.
var importRules = []struct {
	prefix   string
	by       []string
	testsMay bool
	why      string
}{
	{"k8s.io/kubernetes", []string{"apiserver", "controller/quota", "controller/upstream", "node/projection", "node/pulls"}, true, "upstream's rules, admission, controllers, certificates of pods and keyring are each behind an adapter"},
	{"k8s.io/apiserver", []string{"apiserver", "internal/apitest", "controller/quota", "controller/upstream"}, true, "one package assembles the API server; quotas are counted, and policies checked, as its admission does it"},
	{"go.etcd.io/etcd", []string{"apiserver"}, true, "the store is the API server's"},
	{"k8s.io/kubectl", []string{"cmd/fairlead"}, false, "kubectl is a command of the program, not a library"},
	{"github.com/spf13/cobra", []string{"cmd/fairlead"}, false, "flags in, text out: commands are in one package"},
	{"github.com/spf13/pflag", []string{"cmd/fairlead"}, false, "flags are read by the commands"},
	{"k8s.io/cri-api", []string{"node"}, false, "containers belong to the node"},
	{"github.com/containerd/containerd", []string{"node/cri"}, false, "one package speaks with containerd below the CRI service"},
	{"github.com/osrg/gobgp", []string{"network/announce/bgp"}, false, "one package speaks BGP"},
	{"github.com/mdlayher/netlink", []string{"network/nft", "host", "test/bench"}, true, "one package writes the kernel's rules"},
	{"github.com/miekg/dns", []string{"test/bench"}, true, "the second opinion of the DNS tests and the baseline of the benchmark, not part of the program"},
	{"C", nil, false, "the program is static"},
	{module + "/internal/apitest", []string{"internal/apitest"}, true, "test files only"},
}

func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.Imports() {
			for _, rule := range importRules {
				if !within(imported, rule.prefix) || within(f.Package(), rule.by...) {
					continue
				}
				if f.Test() && rule.testsMay {
					continue
				}
				t.Errorf("%s imports %s: allowed in %v only: %s", f.Path, imported, rule.by, rule.why)
			}
		}
	}
}

// pure are the files that only compute in packages that do more: they must not be able to do anything else.
var pure = []string{
	"node/nodestatus/status.go",
	"network/world/text.go",
}

// impure are the packages and calls that reach outside, or that make the same input give another result.
var (
	impureImports = []string{"os", "os/exec", "os/signal", "net", "net/http", "context", "log", "log/slog", "io/fs", "syscall",
		"k8s.io/client-go", "github.com/mdlayher/netlink", "github.com/vishvananda/netlink"}
	impureCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "time.AfterFunc", "metav1.Now"}
)

func TestPureFiles(t *testing.T) {
	files := goFiles(t)
	for _, pattern := range pure {
		found := false
		for _, f := range files {
			if ok, _ := path.Match(pattern, f.Path); !ok || f.Test() {
				continue
			}
			found = true
			onlyComputes(t, f)
		}
		if !found {
			t.Errorf("no file is named %s any more: name the one that took its place", pattern)
		}
	}
}

// onlyComputes refuses what a file could do besides computing.
func onlyComputes(t *testing.T, f File) {
	t.Helper()
	for _, imported := range f.Imports() {
		if slices.ContainsFunc(impureImports, func(p string) bool {
			return imported == p || strings.HasPrefix(imported, p+"/") && strings.Contains(p, ".")
		}) {
			t.Errorf("%s imports %s: it only computes", f.Path, imported)
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			t.Errorf("%s starts a goroutine", f.At(n))
		}
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(impureCalls, x.Name+"."+s.Sel.Name) {
				t.Errorf("%s reads the clock", f.At(n))
			}
		}
		return true
	})
}

// TestPackageNames: a package is a noun of the trade, not a drawer.
func TestPackageNames(t *testing.T) {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "shared", "base", "types", "pkg", "lib"}
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		if seen[f.Package()] {
			continue
		}
		seen[f.Package()] = true
		for _, part := range strings.Split(f.Package(), "/") {
			if slices.Contains(drawers, part) {
				t.Errorf("package %s: %q says nothing about what is inside", f.Package(), part)
			}
		}
	}
}

// TestPackageDocs: each package has exactly one comment that says what it is.
func TestPackageDocs(t *testing.T) {
	docs, tests := map[string][]string{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.Test() {
			tests[f.Package()] = true
			if f.AST.Doc == nil {
				continue
			}
		}
		if _, ok := docs[f.Package()]; !ok && !f.Test() {
			docs[f.Package()] = nil
		}
		if f.AST.Doc != nil {
			docs[f.Package()] = append(docs[f.Package()], f.Path)
			text, name := f.AST.Doc.Text(), strings.TrimSuffix(f.AST.Name.Name, "_test")
			begin := regexp.MustCompile("^Package " + name + " ")
			if name == "main" {
				begin = regexp.MustCompile("^(Command|Fairlead) ")
			}
			if !begin.MatchString(text) {
				t.Errorf("%s: the package comment must match %q", f.Path, begin)
			}
		}
	}
	for pkg := range tests {
		if _, ok := docs[pkg]; !ok {
			docs[pkg] = nil
		}
	}
	for pkg, where := range docs {
		if len(where) != 1 {
			t.Errorf("package %s has %d package comments, want one: %v", pkg, len(where), where)
		}
	}
}

// wellKnown are methods whose meaning Go's own library defines.
var wellKnown = []string{"Error", "Unwrap", "Is", "As", "String", "ServeHTTP", "Read", "Write", "Close", "Len", "Less", "Swap"}

// TestExportedDocs: every exported name of a package that others import says what it means.
func TestExportedDocs(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.Test() || f.AST.Name.Name == "main" {
			continue
		}
		for _, d := range f.AST.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !slices.Contains(wellKnown, d.Name.Name) {
					t.Errorf("%s: %s has no comment", f.At(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					undocumented(t, f, d, s)
				}
			}
		}
	}
}

func undocumented(t *testing.T, f File, d *ast.GenDecl, s ast.Spec) {
	t.Helper()
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
			t.Errorf("%s: type %s has no comment", f.At(s), s.Name.Name)
		}
	case *ast.ValueSpec:
		if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
			t.Errorf("%s: %s has no comment", f.At(s), s.Names[0].Name)
		}
	}
}

// exportedReceiver reports whether a function is none's method or an exported type's. Methods that
// satisfy an interface on an internal type need no comment of their own.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

var ignored = regexp.MustCompile(`(?m)^//budget:ignore \S+`)

// TestBudgets: files and functions of a length that can be read. A table of data is not read line by
// line and may be marked.
func TestBudgets(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.Test() {
			continue
		}
		head := f.Text[:strings.Index(f.Text, "package ")]
		if n := strings.Count(f.Text, "\n"); n > fileBudget && !ignored.MatchString(head) {
			t.Errorf("%s has %d lines, the budget is %d: is a noun hiding inside?", f.Path, n, fileBudget)
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc != nil && ignored.MatchString(commentText(fn.Doc)) {
				continue
			}
			if n := f.Lines(fn); n > functionBudget {
				t.Errorf("%s: %s has %d lines, the budget is %d", f.At(fn), fn.Name.Name, n, functionBudget)
			}
		}
	}
}

// commentText is a comment with its directives, which ast.CommentGroup.Text drops.
func commentText(g *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

func TestGofmt(t *testing.T) {
	for _, f := range goFiles(t) {
		if want, err := format.Source([]byte(f.Text)); err != nil || string(want) != f.Text {
			t.Errorf("%s is not formatted: gofmt -w %s", f.Path, f.Path)
		}
	}
}

// TestWords: what is in the tree is finished, and speaks of nothing that a reader of it cannot see.
func TestWords(t *testing.T) {
	forbidden := regexp.MustCompile(strings.Join([]string{
		`\bTO` + `DO\b`, `\bFIX` + `ME\b`, `\bX` + `XX\b`, `not ` + `implemented`,
		`\.\./sha` + `red\b`, `/wo` + `rk/(main|shared|\.)`, `/tmp/br` + `ief`,
	}, "|"))
	_, files := repository(t)
	for _, f := range files {
		for i, line := range strings.Split(f.Text, "\n") {
			if found := forbidden.FindString(line); found != "" {
				t.Errorf("%s:%d: %q", f.Path, i+1, found)
			}
		}
	}
}

// TestNoSkip: a test that needs root or a tool and does not find it fails and says so.
func TestNoSkip(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.Test() {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				t.Errorf("%s: a skipped test hides what it would have found", f.At(n))
			}
			return true
		})
	}
}

// source is the text of a node.
func (f File) source(n ast.Node) string {
	return f.Text[f.set.Position(n.Pos()).Offset:f.set.Position(n.End()).Offset]
}

// TestEnvironment: only programs read flags and the environment; packages are told.
func TestEnvironment(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.Test() || f.AST.Name.Name == "main" || within(f.Package(), "cluster/kubeconfig", "test/bake/debian", "node/cri", "internal") {
			continue // kubeconfig follows kubectl's own variable; the others hand theirs to programs they start
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Args"}, f.source(s)) {
				t.Errorf("%s reads %s: only package main does", f.At(n), f.source(s))
			}
			return true
		})
		if slices.Contains(f.Imports(), "flag") {
			t.Errorf("%s has flags: only package main has", f.Path)
		}
	}
}

// TestCommandsStartNothing: a command reads flags and prints; what it starts is cluster's, which a test can start as well. Of other parts
// it knows what it shows: findings about the host, what the nodes have programmed, the release of Kubernetes.
func TestCommandsStartNothing(t *testing.T) {
	known := []string{module + "/cluster", module + "/host", module + "/network/health", module + "/apiserver", module + "/internal/keeper"}
	for _, f := range goFiles(t) {
		if f.Test() || f.Package() != "cmd/fairlead" {
			continue
		}
		for _, imported := range f.Imports() {
			if within(imported, module) && !within(imported, known[0]) && !slices.Contains(known, imported) {
				t.Errorf("%s imports %s: what a command does with that belongs to cluster", f.Path, imported)
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a command starts a goroutine", f.At(n))
			}
			return true
		})
	}
}

// TestDependencies: each module that is required directly is named with its reason in
// docs/dependencies.md.
func TestDependencies(t *testing.T) {
	root, _ := repository(t)
	mod := text(t, root, "go.mod")
	ledger := text(t, root, "docs/dependencies.md")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(mod, -1) {
		name := path.Base(regexp.MustCompile(`/v\d+$`).ReplaceAllString(m[1], ""))
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(ledger) {
			t.Errorf("%s is required and docs/dependencies.md does not say why", m[1])
		}
	}
}

func text(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
