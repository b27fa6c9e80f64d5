package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		busy         bool
		live, memory uint64
		want         int
	}{
		{false, 40 << 20, 4 << 30, 50},
		{false, 4 << 30, 64 << 30, 50},
		{true, 0, 4 << 30, 400},
		{true, 64 << 20, 4 << 30, 400},
		{true, 128 << 20, 4 << 30, 200},
		{true, 1 << 30, 4 << 30, 100},
		{true, 1 << 30, 32 << 30, 200},
	} {
		if got := gcPercent(tt.busy, tt.live, tt.memory); got != tt.want {
			t.Errorf("busy=%v with %d MB in use of %d MB: %d %%, want %d %%", tt.busy, tt.live>>20, tt.memory>>20, got, tt.want)
		}
	}
}
