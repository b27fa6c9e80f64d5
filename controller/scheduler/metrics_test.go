package scheduler

import (
	"testing"

	"fairlead.dev/fairlead/internal/apitest"
)

func TestMetricsAreDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "scheduler_", (&Scheduler{metrics: newMetrics()}).register)
}
