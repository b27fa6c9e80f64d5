package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// File is one file of the repository.
type File struct {
	Path string // slash-separated, from the repository's root
	Text string
	AST  *ast.File // nil unless it is Go
	set  *token.FileSet
}

// Root finds the repository's top directory from a directory below it.
func Root(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}

// Read returns the repository's text files: what git tracks or would track. Generated Go files and
// dependency checksums are nobody's prose and are left out.
func Read(root string) ([]File, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []File
	for _, p := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if p == "go.sum" || strings.HasPrefix(path.Base(p), "zz_generated") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, p))
		if os.IsNotExist(err) {
			continue // deleted and not yet committed
		}
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(string(text), 0) {
			continue // not text
		}
		f := File{Path: p, Text: string(text)}
		if strings.HasSuffix(p, ".go") && !strings.Contains(p, "testdata/") {
			f.set = token.NewFileSet()
			if f.AST, err = parser.ParseFile(f.set, p, text, parser.ParseComments); err != nil {
				return nil, err
			}
		}
		files = append(files, f)
	}
	return files, nil
}

// Package is the directory of the file, "." for the root.
func (f File) Package() string { return path.Dir(f.Path) }

// Test reports whether the file is a Go test.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Imports lists what the file imports.
func (f File) Imports() []string {
	var list []string
	for _, spec := range f.AST.Imports {
		list = append(list, strings.Trim(spec.Path.Value, `"`))
	}
	return list
}

// Line is the line of a node.
func (f File) Line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

// At is where a node stands, as a person or an editor reads it.
func (f File) At(n ast.Node) string { return fmt.Sprintf("%s:%d", f.Path, f.Line(n)) }

// Lines is how many lines a node spans.
func (f File) Lines(n ast.Node) int { return f.set.Position(n.End()).Line - f.Line(n) + 1 }
