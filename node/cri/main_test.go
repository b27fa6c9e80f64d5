package cri

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestMain runs the tests in a network namespace of their own: sandboxes put their veths there.
func TestMain(m *testing.M) {
	netlab.Main(m, func(netlink.Link) error { // as on every node with IPv6: the gateways of pods are usable at once
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
	})
}
