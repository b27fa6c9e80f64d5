package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckIngress: a line for each annotation, and an error if one of them does not do what it says.
func TestCheckIngress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ingress.yaml")
	manifest := func(annotations string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: shop\n  namespace: web\n  annotations:\n" + annotations +
			"spec:\n  rules:\n  - host: a.example.org\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n"
	}
	const prefix = "    nginx.ingress.kubernetes.io/"
	run := func(in string, args ...string) (string, error) {
		var out bytes.Buffer
		root := rootCommand()
		root.SetOut(&out)
		root.SetIn(strings.NewReader(in))
		root.SetArgs(append([]string{"check", "ingress"}, args...))
		err := root.Execute()
		return out.String(), err
	}
	if err := os.WriteFile(file, []byte(manifest(prefix+"affinity: cookie\n"+prefix+"proxy-buffering: 'on'\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("", "-f", file)
	want := "web/shop  affinity         same\nweb/shop  proxy-buffering  differs  on holds"
	if err != nil || !strings.HasPrefix(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run(manifest(prefix+"server-snippet: deny all;\n"+prefix+"limit-rps: many\n"), "-f", file, "-f", "-")
	if err == nil || err.Error() != "2 of 2 lines are not supported or wrong" { // the second file has the same Ingress
		t.Errorf("%v\n%s", err, out)
	}
	for _, wrong := range [][]string{nil, {"--all", "-f", file}, {"-f", filepath.Join(t.TempDir(), "none")}, {"--all", "--kubeconfig", file}} {
		if out, err := run("", wrong...); err == nil || out != "" {
			t.Errorf("%v: %v %s", wrong, err, out)
		}
	}
}

// TestDocumentedCheck: what docs/ingress.md shows of `fairlead check ingress` is what it prints.
func TestDocumentedCheck(t *testing.T) {
	text, err := os.ReadFile("../../docs/ingress.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## Moving from ingress-nginx")
	block := func(kind string) string {
		_, after, _ := strings.Cut(rest, "```"+kind+"\n")
		inside, _, found := strings.Cut(after, "```")
		if !found {
			t.Fatalf("docs/ingress.md has no example in %s", kind)
		}
		return inside
	}
	var out bytes.Buffer
	root := rootCommand()
	root.SetOut(&out)
	root.SetIn(strings.NewReader(block("yaml")))
	root.SetArgs([]string{"check", "ingress", "-f", "-"})
	if err := root.Execute(); err == nil || out.String() != block("text") {
		t.Errorf("%v\n%s\ndocs/ingress.md shows\n%s", err, &out, block("text"))
	}
}
