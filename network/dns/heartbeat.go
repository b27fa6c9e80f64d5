package dns

import (
	"context"
	"net"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
)

const (
	// heartbeatEvery is how often the server sends itself a datagram. The kernel's rules take it for a sign
	// of life and hand the node's own queries to other nodes' servers when it stays away (package nft).
	heartbeatEvery = 250 * time.Millisecond
	// lastBeatPort is where the last one goes, so that nobody has to wait for the silence to be noticed.
	lastBeatPort = 9
)

// heartbeat sends c, bound to self, a datagram to itself until ctx is done. Its content is a response
// without a question, which the server ignores.
func heartbeat(ctx context.Context, c *net.UDPConn, self netip.AddrPort) error {
	message := make([]byte, zone.HeaderSize)
	message[2] = zone.FlagQR >> 8
	ticks := time.NewTicker(heartbeatEvery)
	defer ticks.Stop()
	for {
		c.WriteToUDPAddrPort(message, self)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			c.WriteToUDPAddrPort(message, netip.AddrPortFrom(self.Addr(), lastBeatPort))
			return nil
		}
	}
}
