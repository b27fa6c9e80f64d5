package policy

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// levels are the methods of a logger that write a line: a message, then keys and values.
var levels = []string{"Debug", "Info", "Warn", "Error"}

// prefixed is a message that says again which part it is of, or that ends as in prose.
var prefixed = regexp.MustCompile(`^[a-z]+: |[.!]$`)

// TestLogs: a line says which part speaks by the attribute part alone, and every error has the same key.
func TestLogs(t *testing.T) {
	lines := 0
	for _, f := range goFiles(t) {
		if f.Test() || f.AST.Name.Name == "main" {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			logger, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(levels, logger.Sel.Name) || !strings.HasSuffix(f.source(logger.X), "log") {
				return true
			}
			lines++
			if message, ok := call.Args[0].(*ast.BasicLit); ok && prefixed.MatchString(strings.Trim(message.Value, "\"`")) {
				t.Errorf("%s: %s: the part is an attribute, and a message is no sentence of its own", f.At(n), message.Value)
			}
			for i := 1; i+1 < len(call.Args); i += 2 {
				if key := f.source(call.Args[i]); f.source(call.Args[i+1]) == "err" && key != `"err"` {
					t.Errorf("%s: the key of an error is \"err\", not %s", f.At(n), key)
				}
			}
			return true
		})
	}
	if lines < 50 {
		t.Fatalf("only %d lines of logs found", lines)
	}
}

// parts are the packages that run under a name given by who starts them, which begins each of their errors.
var parts = []string{"network", "node", "controller", "kube"}

// TestErrorsNameTheirPartOnce: an error of a part does not begin with the name that its caller gives it.
func TestErrorsNameTheirPartOnce(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.Test() || !within(f.Package(), parts...) {
			continue
		}
		begin := f.AST.Name.Name + ": "
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !slices.Contains([]string{"fmt.Errorf", "errors.New"}, f.source(call.Fun)) {
				return true
			}
			if text, ok := call.Args[0].(*ast.BasicLit); ok && strings.HasPrefix(strings.Trim(text.Value, "\"`"), begin) {
				t.Errorf("%s: %s: whoever starts this part says so", f.At(n), text.Value)
			}
			return true
		})
	}
}
