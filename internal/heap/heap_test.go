package heap

import "testing"

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		rate, live, memory uint64
		busy, want         int
	}{
		{1 << 20, 40 << 20, 4 << 30, 61, 50},
		{12 << 20, 4 << 30, 64 << 30, 61, 50},
		{16 << 20, 40 << 20, 4 << 30, 61, 100},
		{32 << 20, 40 << 20, 4 << 30, 61, 200},
		{32 << 20, 0, 4 << 30, 61, 200},
		{300 << 20, 40 << 20, 4 << 30, 61, 400},
		{300 << 20, 128 << 20, 4 << 30, 61, 200},
		{300 << 20, 1 << 30, 4 << 30, 61, 100},
		{300 << 20, 1 << 30, 32 << 30, 61, 200},
		{300 << 20, 20 << 20, 4 << 30, 1, 400},
		{300 << 20, 40 << 20, 4 << 30, 60, 240},
		{300 << 20, 128 << 20, 4 << 30, 60, 100},
	} {
		if got := percent(tt.rate, tt.live, tt.memory, tt.busy); got != tt.want {
			t.Errorf("%d MB a second for %d s, %d MB in use of %d MB: %d %%, want %d %%", tt.rate>>20, tt.busy, tt.live>>20, tt.memory>>20, got, tt.want)
		}
	}
}
