package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		busy bool
		live uint64
		want int
	}{
		{false, 40 << 20, 50},
		{false, 4 << 30, 50},
		{true, 0, 400},
		{true, 48 << 20, 400},
		{true, 96 << 20, 200},
		{true, 1 << 30, 100},
	} {
		if got := gcPercent(tt.busy, tt.live); got != tt.want {
			t.Errorf("busy=%v with %d MB in use: %d %%, want %d %%", tt.busy, tt.live>>20, got, tt.want)
		}
	}
}
