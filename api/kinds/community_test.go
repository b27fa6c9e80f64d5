package kinds

import (
	"fmt"
	"testing"
)

func TestParseCommunity(t *testing.T) {
	for text, want := range map[string]string{
		"64512:100": "[64512 100]", "0:0": "[0 0]", "65535:65535": "[65535 65535]", "1:2:3": "[1 2 3]", "4294967295:0:0": "[4294967295 0 0]",
		"": "error", "100": "error", "65536:1": "error", "1:65536": "error", "1:2:3:4": "error", "1:-2": "error", "1:+2": "error", "a:b": "error",
		"4294967296:0:0": "error", "no-export": "error", "1: 2": "error", "1:": "error",
	} {
		c, err := ParseCommunity(text)
		got := fmt.Sprint([]uint32(c))
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
	}
}
