package scenario

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestDualStackHost runs a cluster of both families on this host, which gets an IPv6 address of its own for that: a Service
// answers at both its addresses, also while the program is dead, and nothing stays behind.
func TestDualStackHost(t *testing.T) {
	six := hostAddress(t, "fd00:fa17:1ead::1")
	before := trace(t)
	c := newCluster(t)
	c.up("--dual-stack", "--node-ip", six.String())
	c.web(2)
	c.kubectl("patch", "svc", "web", "-p", `{"spec":{"ipFamilyPolicy":"RequireDualStack"}}`)
	urls := []string{c.url(0), c.url(1)}
	answer := func() {
		t.Helper()
		for _, url := range urls {
			eventually(t, "the Service answers at "+url, func() error { return ask(url) })
		}
	}
	answer()
	pods := c.pods()
	kill(t, c.pid())
	answer()
	c.back()
	answer()
	if now := c.pods(); now != pods {
		t.Errorf("pods changed over the crash:\nbefore\n%safter\n%s", pods, now)
	}
	c.down()
	unchanged(t, before)
}

// hostAddress gives this host's loopback an IPv6 address until the test ends.
func hostAddress(t *testing.T, text string) netip.Addr {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr(text)
	one := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD}
	if err := netlink.AddrReplace(lo, one); err != nil {
		t.Fatalf("%v; does this kernel have IPv6?", err)
	}
	t.Cleanup(func() {
		if err := netlink.AddrDel(lo, one); err != nil {
			t.Error(err)
		}
	})
	return addr
}
