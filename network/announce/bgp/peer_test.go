package bgp

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseCommunities(t *testing.T) {
	for words, want := range map[string]string{
		"": "", "64512:100": "64512:100", " 0:0  65535:65535 1:2:3 4294967295:0:0": "0:0 65535:65535 1:2:3 4294967295:0:0",
		"100": "error", "65536:1": "error", "1:2:3:4": "error", "1:-2": "error", "a:b": "error", "4294967296:0:0": "error", "no-export": "error",
	} {
		short, large, err := ParseCommunities(words)
		var all []string
		for _, c := range short {
			all = append(all, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
		}
		for _, c := range large {
			all = append(all, fmt.Sprintf("%d:%d:%d", c.ASN, c.LocalData1, c.LocalData2))
		}
		if err != nil {
			all = []string{"error"}
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%q: %s (%v), want %s", words, got, err, want)
		}
	}
}
