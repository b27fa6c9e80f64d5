package dns

import (
	"context"
	"net"
	"net/netip"
	"time"
)

const (
	// beatEvery is how often the server sends itself a datagram. The kernel's rules take it for a sign
	// of life and hand the node's own queries to other nodes' servers when it stays away (package nft).
	beatEvery = 250 * time.Millisecond
	// farewellPort is where the last one goes, so that nobody has to wait for the silence to be noticed.
	farewellPort = 9
)

// beat sends c, bound to self, a datagram to itself until ctx is done. Its content is a response
// without a question, which the server ignores.
func beat(ctx context.Context, c *net.UDPConn, self netip.AddrPort) error {
	message := make([]byte, headerSize)
	message[2] = flagQR >> 8
	ticks := time.NewTicker(beatEvery)
	defer ticks.Stop()
	for {
		c.WriteToUDPAddrPort(message, self)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			c.WriteToUDPAddrPort(message, netip.AddrPortFrom(self.Addr(), farewellPort))
			return nil
		}
	}
}
