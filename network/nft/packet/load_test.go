package packet

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
)

// load is a client that makes one connection after another.
type load struct {
	made   atomic.Int64
	limit  atomic.Int64 // how many it may have made by now
	cancel context.CancelFunc
	done   chan struct{}
	failed error // the first failure, which ends the load; valid once done is closed
}

// load starts connecting to all of the addresses in turn.
func (l *lab) load(from machine, to ...netip.AddrPort) *load {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &load{cancel: cancel, done: make(chan struct{})}
	c.limit.Store(math.MaxInt64)
	go from.Do(func() { // one thread for all of them
		defer close(c.done)
		for n := 0; ctx.Err() == nil; n++ {
			for wait := true; wait && ctx.Err() == nil; wait = c.made.Load() >= c.limit.Load() {
				time.Sleep(200 * time.Microsecond) // the machine is for those who change things, too
			}
			if err := connect(to[n%len(to)]); err != nil {
				c.failed = fmt.Errorf("%s: connection %d, to %s: %w", from.name, n, to[n%len(to)], err)
				return
			}
			c.made.Add(1)
		}
	})
	l.until("the load to begin", func() bool { return c.made.Load() > 0 || c.ended() })
	return c
}

// connect makes one connection and waits for the answer, which is patient enough
// for a packet to be sent twice.
func connect(to netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", to.String(), patient)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0) // a reset leaves no state behind
	_, err = netlab.Ask(conn, patient)
	return err
}

func (c *load) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// unharmed ends loads, fails if any connection of them did, and returns how many
// there were.
func (l *lab) unharmed(loads ...*load) (connections int) {
	l.t.Helper()
	for _, c := range loads {
		c.cancel()
		<-c.done
		connections += int(c.made.Load())
		if c.failed != nil {
			l.t.Error(c.failed)
		}
	}
	return connections
}

// resent counts the TCP packets that a machine had to send again.
func (l *lab) resent(m machine) (n int) {
	l.t.Helper()
	m.Do(func() {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			l.t.Error(err)
			return
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if words[0] == "Tcp:" && names == nil {
				names = words
			} else if words[0] == "Tcp:" {
				for i, name := range names {
					if name == "RetransSegs" {
						_, _ = fmt.Sscan(words[i], &n)
					}
				}
			}
		}
	})
	return n
}
