package external

import (
	"context"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/controller/external/healthcheck"
)

// probe has probes made when they are due, until ctx is done.
func (c *Controller) probe(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !c.startDue(ctx) {
			return
		}
		c.mu.Lock()
		next, any := c.monitor.Next()
		c.mu.Unlock()
		wait := time.Hour
		if any {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// startDue starts the probes that are due; false means that ctx is done.
func (c *Controller) startDue(ctx context.Context) bool {
	for {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		c.mu.Lock()
		try, found := c.monitor.Due(time.Now())
		c.mu.Unlock()
		if !found {
			<-c.slots
			return true
		}
		c.probes.Go(func() {
			defer func() { <-c.slots }()
			c.ask(ctx, try)
		})
	}
}

// ask has a node make one probe, and takes in its reply.
func (c *Controller) ask(ctx context.Context, try healthcheck.Try) {
	begin := time.Now()
	reply, err := c.asker(ctx, try.Node, try.Request)
	if ctx.Err() != nil {
		return
	}
	c.metrics.probed(reply, err, time.Since(begin))
	if err != nil {
		c.log.Debug("a probe could not be made", "service", try.Service, "endpoint", netip.AddrPortFrom(try.Request.Address, uint16(try.Request.Port)), "err", err)
	}
	c.mu.Lock()
	c.monitor.Answered(try, reply, err == nil, time.Now())
	c.mu.Unlock()
	c.look()
}

// look has the loop of probes look at what is due.
func (c *Controller) look() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}
