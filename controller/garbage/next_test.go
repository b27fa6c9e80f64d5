package garbage

import (
	"testing"
	"time"
)

// A namespace with content that does not go is looked at less and less often.
func TestNextLook(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{
		-time.Hour: 5 * time.Second, 0: 5 * time.Second, 20 * time.Second: 5 * time.Second, 40 * time.Second: 10 * time.Second,
		4 * time.Minute: time.Minute, 24 * time.Hour: time.Minute,
	} {
		if got := nextLook(age); got != want {
			t.Errorf("after %s: %s, want %s", age, got, want)
		}
	}
}
