package policy

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeCommands: every command that a document tells people to type is there: fairlead's
// subcommands and flags, make's targets, and the files that are named.
func TestReadmeCommands(t *testing.T) {
	root, files := repository(t)
	uses, words := vocabulary(files)
	makefile := text(t, root, "Makefile")
	for _, f := range files {
		if !strings.HasSuffix(f.Path, ".md") {
			continue
		}
		for _, line := range commandLines(f.Text) {
			for _, m := range regexp.MustCompile(`\bmake ([a-z]+(?:-[a-z]+)*)`).FindAllStringSubmatch(line, -1) {
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("%s: %q: the Makefile has no target %s", f.Path, line, m[1])
				}
			}
			if i := strings.Index(line+" ", "fairlead "); i >= 0 {
				checkCommand(t, f.Path, strings.Fields(line[i:])[1:], uses, words)
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(f.Text, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(f.Path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", f.Path, m[1], err)
			}
		}
	}
}

// commandLines are the lines of shell blocks and the code spans that begin with a program of ours.
func commandLines(text string) []string {
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```(?:sh|console)\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for _, line := range strings.Split(block[1], "\n") {
			line, _, _ = strings.Cut(line, " #")
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for _, span := range regexp.MustCompile("`((?:sudo |bin/)*(?:fairlead|make) [^`]*)`").FindAllStringSubmatch(text, -1) {
		lines = append(lines, span[1])
	}
	return lines
}

// checkCommand looks for the words of one command line in the program's own words.
func checkCommand(t *testing.T, where string, args []string, uses, words map[string]bool) {
	t.Helper()
	if len(args) == 0 || !regexp.MustCompile(`^[a-z]+$`).MatchString(args[0]) {
		return // "fairlead COMMAND --help", or a sentence
	}
	if !uses[args[0]] {
		t.Errorf("%s: fairlead has no command %q", where, args[0])
	}
	if args[0] == "kubectl" {
		return
	}
	for _, arg := range args[1:] {
		if arg == "--" {
			return
		}
		if flag, ok := strings.CutPrefix(arg, "--"); ok {
			flag, _, _ = strings.Cut(strings.TrimRight(flag, "],."), "=")
			if !words[flag] && flag != "help" {
				t.Errorf("%s: fairlead %s has no flag --%s", where, args[0], flag)
			}
		}
	}
}

// vocabulary is the first words of all command definitions, and all string literals, of the program.
func vocabulary(files []File) (uses, words map[string]bool) {
	uses, words = map[string]bool{"completion": true, "help": true}, map[string]bool{}
	for _, f := range files {
		if f.AST == nil || f.Test() || !within(f.Package(), "cmd/fairlead", "cluster") {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				words[strings.Trim(n.Value, "`\"")] = true
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Use" {
					if lit, ok := n.Value.(*ast.BasicLit); ok {
						uses[strings.Fields(strings.Trim(lit.Value, `"`))[0]] = true
					}
				}
			}
			return true
		})
	}
	return uses, words
}

// rows are the promises that have a script of their own.
var rows = []string{"M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M11", "M12", "M13", "M14", "M15", "M16", "M17", "M18", "M19", "M20", "M21", "M22", "M23", "M24", "M25", "M27", "M28", "M29"}

// TestDemos: each promise has a script that opens with a title and ends by proving that nothing
// remains.
func TestDemos(t *testing.T) {
	root, files := repository(t)
	for _, row := range rows {
		if found, _ := filepath.Glob(filepath.Join(root, "test/demos", row+"_*.txtar")); len(found) != 1 {
			t.Errorf("test/demos/%s_*.txtar: %d scripts, want one", row, len(found))
		}
	}
	title := regexp.MustCompile(`^# [^\n]+\.\n`)
	for _, f := range files {
		if !strings.HasPrefix(f.Path, "test/demos/") || !strings.HasSuffix(f.Path, ".txtar") {
			continue
		}
		script, _, _ := strings.Cut(f.Text, "\n-- ")
		if !title.MatchString(f.Text) {
			t.Errorf("%s: the first line must be its title, one sentence", f.Path)
		}
		if strings.Count(script, "\nsnapshot\n") != 1 || !strings.HasSuffix(strings.TrimSpace(script), "\nnothing-left") {
			t.Errorf("%s: it must take one snapshot and end by proving that nothing is left", f.Path)
		}
	}
}
