package scenario

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSideBySide starts two labs and a cluster on the host at once, with the default flags. Each has its own pod range and
// serves its own pods; nothing of them is left.
func TestSideBySide(t *testing.T) {
	before := trace(t)
	var all []*cluster
	for i := range 3 {
		c := newCluster(t)
		c.dir += fmt.Sprint(i) // newCluster removes what is there at the end
		all = append(all, c)
	}
	results := make(chan result, len(all))
	for i, c := range all {
		flags := []string{"up", "--data-dir", c.dir}
		if i > 0 {
			flags = append(flags, "--nodes", "2", "--name", fmt.Sprintf("side%d", i))
		}
		go func() { results <- c.fairlead(flags...) }()
	}
	for range all {
		if r := <-results; r.code != 0 {
			t.Errorf("up: %v", r)
		}
	}
	var ranges []netip.Prefix
	for _, c := range all {
		for _, text := range strings.Fields(c.kubectl("get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}")) {
			p := netip.MustParsePrefix(text)
			for _, other := range ranges {
				if other.Overlaps(p) {
					t.Errorf("pod range %s of %s meets %s", p, c.dir, other)
				}
			}
			ranges = append(ranges, p)
		}
		c.status(0)
	}
	if len(ranges) != 5 {
		t.Errorf("ranges %v", ranges)
	}
	for _, c := range all {
		c.down()
	}
	unchanged(t, before)
}

// TestListensOnItsFamilyOnly looks at every socket of an IPv4 cluster.
func TestListensOnItsFamilyOnly(t *testing.T) {
	c := newCluster(t)
	c.up()
	own := map[string]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.pid()))
	for _, f := range files {
		if to, _ := os.Readlink(f); strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, kind := range []string{"tcp", "tcp6", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", c.pid(), kind))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || !own[f[9]] || strings.HasPrefix(kind, "tcp") && f[3] != "0A" {
				continue
			}
			if found++; kind != "tcp" {
				t.Errorf("an IPv4 cluster has an open socket of %s: %s", kind, line)
			}
		}
		if kind == "tcp" && found < 4 {
			t.Errorf("%d listening sockets of the main process are found", found)
		}
	}
}
