package apitest

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/component-base/metrics/legacyregistry"

	"fairlead.dev/fairlead/kube"
)

// Every queue of controllers is measured by the API server's library, and docs/metrics.md says how.
func TestQueuesAreMeasured(t *testing.T) {
	q := kube.NewQueue[string]("of-a-test", time.Second, slog.New(slog.DiscardHandler))
	defer q.ShutDown()
	q.Add("a")
	q.Get()
	q.AddRateLimited("a")
	q.Done("a")
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "workqueue_") {
			continue
		}
		for _, m := range family.GetMetric() {
			if label := m.GetLabel()[0]; len(m.GetLabel()) == 1 && label.GetValue() == "of-a-test" {
				seen[family.GetName()] = label.GetName()
			}
		}
	}
	compareMetrics(t, "workqueue_", seen)
}
