package main

import (
	"strings"
	"testing"
)

const junit = `<?xml version="1.0"?><testsuites><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" status="passed"></testcase>
<testcase name="[It] [sig-network] Services a [Conformance]" status="passed"></testcase>
<testcase name="[It] [sig-network] Services b | c [Conformance]" status="failed"><failure type="failed">[FAILED] Timed out after 60s.
Expected &lt;int&gt; 1
In [It] at: k8s.io/kubernetes/test/e2e/network/service.go:12 @ 12/01/26</failure></testcase>
<testcase name="[It] [sig-node] Pods d [Conformance]" status="timedout"><failure type="timedout">A suite timeout occurred</failure></testcase>
<testcase name="[It] [sig-node] Pods e [Serial] [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-node] Pods f [Conformance]" status="skipped"><skipped message="skipped - Requires at least 3 nodes"></skipped></testcase>
<testcase name="[It] [sig-node] Pods not demanded" status="failed"><failure>x</failure></testcase>
</testsuite></testsuites>`

const serial = `<testsuites><testsuite>
<testcase name="[It] [sig-network] Services a [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-node] Pods e [Serial] [Conformance]" status="passed"></testcase>
</testsuite></testsuites>`

func TestDocument(t *testing.T) {
	var runs [][]test
	for _, text := range []string{junit, serial} {
		run, err := parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	known, err := causes("# why\n\nPods [dx]\tthe node has no clock\n")
	if err != nil {
		t.Fatal(err)
	}
	page := document(conformance(runs...), known, "v1.2.3")
	for _, line := range []string{
		"version v1.2.3,", "**2 of 5 pass.**",
		"| network | 1 | 1 | 0 | 2 |", "| node | 1 | 1 | 1 | 3 |", "| all | 2 | 2 | 1 | 5 |",
		`| [sig-network] Services b \| c | failed | Timed out after 60s. |`,
		"| [sig-node] Pods d | timedout | the node has no clock |",
		"| [sig-node] Pods f | skipped | skipped - Requires at least 3 nodes |",
	} {
		if !strings.Contains(page, line) {
			t.Errorf("no %q in\n%s", line, page)
		}
	}
	if strings.Contains(page, "not demanded") || strings.Contains(page, "| [sig-network] Services a") {
		t.Errorf("what is not demanded, or passes, is among what does not pass:\n%s", page)
	}
	err = unexplained(conformance(runs...), known)
	if err == nil || err.Error() != "1 tests failed whose cause is not known:\n[sig-network] Services b | c [Conformance]: Timed out after 60s." {
		t.Errorf("unexplained: %v", err)
	}
	if all := document(conformance(runs[1][1:]), nil, ""); strings.Contains(all, "did not pass") {
		t.Errorf("everything passed, and yet:\n%s", all)
	}
}

func TestWrongInput(t *testing.T) {
	if _, err := parse(strings.NewReader("PASS\n")); err == nil {
		t.Error("a log is taken for a report")
	}
	for _, text := range []string{"no tab here", "(\tunbalanced"} {
		if _, err := causes(text); err == nil || !strings.HasPrefix(err.Error(), "line 1: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "nothing is said",
		"\n  STEP: Creating a pod - k8s.io/x.go:1\n[FAILED] expected pod: pods is forbidden\nmore": "expected pod: pods is forbidden",
		strings.Repeat("é", 300): strings.Repeat("é", 200) + "…",
	} {
		if got := firstLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
