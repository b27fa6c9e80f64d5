package apitest

import (
	"fmt"
	"testing"

	"k8s.io/component-base/metrics/legacyregistry"
)

// stillFor is how many looks in a row, five milliseconds apart, must find queues at rest.
const stillFor = 100

// QueueAdds is how often a key was put on each queue of this process so far, by the name of the queue.
func QueueAdds(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	adds := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "workqueue_adds_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "name" {
					adds[label.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	if len(adds) == 0 {
		t.Fatal("no queue tells how much is put on it")
	}
	return adds
}

// QueuesRest waits until the queues of this process are left alone: a queue that puts its own keys back without a pause never is.
func QueuesRest(t testing.TB) {
	t.Helper()
	before, still := QueueAdds(t), 0
	Eventually(t, func() string {
		now := QueueAdds(t)
		busy := ""
		for name, n := range now {
			if n != before[name] {
				busy += fmt.Sprintf("queue %s: %v more adds since the last look; ", name, n-before[name])
			}
		}
		if before = now; busy != "" {
			still = 0
			return busy
		}
		if still++; still < stillFor {
			return "the queues have not been at rest for long enough"
		}
		return ""
	})
}
