package nft

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestTheHostOfALabIsShut has nodes and pods reach of their host the API server only, by a Service too, and the host reach them.
func TestTheHostOfALabIsShut(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.serve(l.outsideNs, netip.AddrPortFrom(outsideIP, 8081), "other")
		cfg := testConfig
		cfg.Host = two(outsideIP)
		cfg.APIServers = []netip.AddrPort{at("198.51.100.2:8080"), netip.AddrPortFrom(six(outsideIP), 8080)}
		l.startAs(cfg)
		l.put(newService("api", "10.96.0.1"), newSlice("api", outsideIP))
		for _, from := range []*netlab.Netns{l.node, l.a} {
			l.reaches(from, "tcp", "198.51.100.2:8080", anyClient, "outside")
			l.reaches(from, "tcp", "10.96.0.1:80", anyClient, "outside")
			l.refused(from, "198.51.100.2:8081")
			l.refused(from, "198.51.100.2:22")
			for _, to := range []string{"198.51.100.2:8081", "10.96.0.1:80"} { // a pod is told by ICMP, the node by its own kernel
				if a, err := from.UDP(netip.Addr{}, l.at(to), patient); err == nil || isTimeout(err) {
					t.Errorf("udp %s: %v, %v, want an error at once", to, a, err)
				}
			}
		}
		l.reaches(l.outsideNs, "tcp", "192.0.2.1:8080", anyClient, "host")
		l.reaches(l.outsideNs, "udp", "192.0.2.1:8080", anyClient, "host")
	})
}

// TestLabsAndPodsOfTheHostAreApart has a link into a lab on the node.
func TestLabsAndPodsOfTheHostAreApart(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.start()
		out, err := l.node.Command("ip", "-oneline", "address", "show", "to", l.text("198.51.100.1"))
		if err != nil {
			t.Fatal(err, out)
		}
		link := strings.TrimSuffix(strings.Fields(out)[1], ":")
		l.reaches(l.a, "tcp", "198.51.100.2:8080", anyClient, "outside")
		l.reaches(l.outsideNs, "tcp", "10.244.1.2:8080", anyClient, "a")
		for _, args := range [][]string{{"set", link, "down"}, {"set", link, "name", "fl-lab"}, {"set", "fl-lab", "up"}} {
			if out, err := l.node.Command("ip", append([]string{"link"}, args...)...); err != nil {
				t.Fatal(err, out)
			}
		}
		if l.six { // addresses go with a link that is down
			if out, err := l.node.Command("ip", "-6", "address", "replace", six(netip.MustParseAddr("198.51.100.1")).String()+"/64", "dev", "fl-lab", "nodad"); err != nil {
				t.Fatal(err, out)
			}
		}
		l.until("the link to be up", func() bool {
			_, err := l.node.TCP(netip.Addr{}, l.at("198.51.100.2:8080"), time.Second)
			return err == nil
		})
		l.refused(l.a, "198.51.100.2:8080")
		l.refused(l.outsideNs, "10.244.1.2:8080")
		l.reaches(l.outsideNs, "tcp", "192.0.2.1:8080", anyClient, "host") // the link is for the host's own use
	})
}
