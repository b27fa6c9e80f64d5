package route

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// recheck is how often everything is compared with the kernel's even if the
	// kernel has told of no change.
	recheck = 30 * time.Second
	// settle is how long changes in the kernel are gathered.
	settle = 100 * time.Millisecond
)

// netconf is the kernel's message that a setting of its network, such as
// forwarding, has changed: RTM_NEWNETCONF, and its groups.
const (
	netconf     = 80
	netconfIPv4 = 24
	netconfIPv6 = 25
)

// watchKernel tells, until ctx is done, when links, addresses, routes of ours or
// the switches for forwarding in the current network namespace have changed.
func watchKernel(ctx context.Context) (<-chan struct{}, error) {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, netconfIPv4, netconfIPv6)
	if err != nil {
		return nil, fmt.Errorf("watch the kernel's links, addresses and routes: %w", err)
	}
	context.AfterFunc(ctx, events.Close)
	changed := make(chan struct{}, 1)
	go func() {
		for {
			messages, _, err := events.Receive()
			if ctx.Err() != nil {
				return
			}
			matters := err != nil // some were lost
			for _, m := range messages {
				matters = matters || concerns(m.Header.Type, m.Data)
			}
			if !matters {
				continue
			}
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return
			}
			select {
			case changed <- struct{}{}:
			default: // a look is due already
			}
		}
	}()
	return changed, nil
}

// concerns reports whether a message is about something that may be ours. A
// host has many routes that are not.
func concerns(kind uint16, body []byte) bool {
	const protocol = 5 // rtm_protocol in struct rtmsg
	switch kind {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return len(body) > protocol && body[protocol] == Protocol
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, netconf:
		return true
	}
	return false
}
