package packet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// command runs a program on a machine and returns what it prints.
func (l *lab) command(on machine, name string, args ...string) string {
	l.t.Helper()
	out, err := on.Command(name, args...)
	if err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return out
}

// flow is a conntrack entry.
type flow struct {
	client, server        netip.Addr // server is who answers
	clientPort, replyPort string     // replyPort is the client's port as the server sees it
}

var tuple = regexp.MustCompile(`src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)`)

// flows lists a node's connections to an address and port, of TCP and UDP.
func (l *lab) flows(on *node, to netip.AddrPort) (found []flow) {
	l.t.Helper()
	family := "ipv4"
	if to.Addr().Is6() {
		family = "ipv6"
	}
	for line := range strings.Lines(l.command(on.machine, "conntrack", "-L", "-f", family, "--orig-dst", to.Addr().String())) {
		parts := tuple.FindAllStringSubmatch(line, -1)
		if len(parts) != 2 || parts[0][4] != fmt.Sprint(to.Port()) {
			continue
		}
		found = append(found, flow{client: netip.MustParseAddr(parts[0][1]), clientPort: parts[0][3],
			server: netip.MustParseAddr(parts[1][1]), replyPort: parts[1][4]})
	}
	return found
}
