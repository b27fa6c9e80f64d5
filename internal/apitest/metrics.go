package apitest

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/internal/policy"
)

// MetricsDocumented checks that docs/metrics.md has a row for each metric that register registers, with its labels, and no
// other one whose name begins with prefix.
func MetricsDocumented(t testing.TB, prefix string, register func(prometheus.Registerer)) {
	t.Helper()
	seen := descriptions{}
	register(seen)
	compareMetrics(t, prefix, seen)
}

// compareMetrics compares metrics, labels by name, with those in docs/metrics.md.
func compareMetrics(t testing.TB, prefix string, registered map[string]string) {
	t.Helper()
	documented := documentedMetrics(t, prefix)
	for name, labels := range registered {
		if said, ok := documented[name]; !ok || said != labels {
			t.Errorf("%s{%s} is registered; docs/metrics.md has it: %t, with labels {%s}", name, labels, ok, said)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if _, ok := registered[name]; !ok {
			t.Errorf("docs/metrics.md has %s, which is not registered", name)
		}
	}
	if len(registered) == 0 {
		t.Errorf("nothing is registered that begins with %s", prefix)
	}
}

// documentedMetrics are the metrics in the tables of docs/metrics.md: labels by name.
func documentedMetrics(t testing.TB, prefix string) map[string]string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := policy.Root(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \|`).FindAllStringSubmatch(string(text), -1) {
		for _, m := range regexp.MustCompile("`("+prefix+`\w*)(?:\{(.*?)\})?`+"`").FindAllStringSubmatch(row[1], -1) {
			found[m[1]] = m[2]
		}
	}
	return found
}

// descriptions is a Registerer that only notes what is registered: labels by name.
type descriptions map[string]string

var description = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{(.*?)\}`)

// Register implements prometheus.Registerer.
func (d descriptions) Register(c prometheus.Collector) error {
	to := make(chan *prometheus.Desc)
	go func() {
		defer close(to)
		c.Describe(to)
	}()
	for desc := range to {
		if m := description.FindStringSubmatch(desc.String()); m != nil {
			d[m[1]] = strings.ReplaceAll(m[2], " ", "")
		}
	}
	return nil
}

// MustRegister implements prometheus.Registerer.
func (d descriptions) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = d.Register(c) // it never fails
	}
}

// Unregister implements prometheus.Registerer.
func (d descriptions) Unregister(prometheus.Collector) bool { return false }
