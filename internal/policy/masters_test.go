package policy

import (
	"go/ast"
	"strings"
	"testing"
)

// TestOnlyTheAdministratorIsAMaster: one place makes a credential of who may do everything, and the API server's authorization alone
// speaks of them besides.
func TestOnlyTheAdministratorIsAMaster(t *testing.T) {
	const administrator = "cluster/admin.go"
	found := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.Test() || strings.HasPrefix(f.Path, "apiserver/auth/") || strings.HasPrefix(f.Path, "internal/") {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			text, isText := n.(*ast.BasicLit)
			name, isName := n.(*ast.Ident)
			if isText && strings.Contains(text.Value, "system:masters") || isName && name.Name == "SystemPrivilegedGroup" {
				found[f.Path] = true
				if f.Path != administrator {
					t.Errorf("%s makes or knows a member of system:masters: give what leaves the process a right of its own", f.At(n))
				}
			}
			return true
		})
	}
	if !found[administrator] {
		t.Errorf("%s makes no administrator: has it moved?", administrator)
	}
}
