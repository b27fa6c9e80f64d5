package feed

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/route"
)

// sockets are those that are open, with what closes each, and what was told of those that cannot be.
type sockets struct {
	open    map[netip.AddrPort]func()
	told    map[netip.AddrPort]bool
	failing map[netip.AddrPort]string // why
	closed  *string                   // what Closed was told last; nil: nothing yet
}

func newSockets() sockets {
	return sockets{open: map[netip.AddrPort]func(){}, told: map[netip.AddrPort]bool{}, failing: map[netip.AddrPort]string{}}
}

// wantedSockets are where the engine has to listen now, and whose connections each has.
func (f *Feed) wantedSockets() map[netip.AddrPort]l7.PointOf {
	all := map[netip.AddrPort]l7.PointOf{}
	for _, at := range f.cfg.Engine {
		all[at] = f.entries.Point
	}
	if f.refs.Len() == 0 || f.cfg.Ports.HTTP == 0 {
		return all
	}
	for _, a := range f.cfg.NodeIPs {
		for _, port := range []uint16{f.cfg.Ports.HTTP, f.cfg.Ports.HTTPS} {
			all[netip.AddrPortFrom(a, port)] = l7.At(route.Point{Port: port})
		}
	}
	return all
}

// listen opens what has to be open and is not, and closes what need not be open any more.
func (f *Feed) listen() {
	wanted := f.wantedSockets()
	for at, stop := range f.sockets.open {
		if wanted[at] == nil {
			stop() // connections that were accepted go on
			delete(f.sockets.open, at)
		}
	}
	for at, of := range wanted {
		if f.sockets.open[at] != nil {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", at.String())
		if err != nil {
			f.taken(at, err)
			continue
		}
		delete(f.sockets.told, at)
		delete(f.sockets.failing, at)
		stop, err := f.engine.Listen(l.(*net.TCPListener), of)
		if err != nil {
			f.log.Error("connections are not accepted", "at", at, "err", err)
			continue
		}
		f.sockets.open[at] = stop
	}
	f.sayClosed(wanted)
}

// sayClosed tells of the first port for Ingresses that is not open, if it is another than before, or that none is.
func (f *Feed) sayClosed(wanted map[netip.AddrPort]l7.PointOf) {
	why := ""
	for _, at := range slices.SortedFunc(maps.Keys(f.sockets.failing), netip.AddrPort.Compare) {
		if wanted[at] == nil {
			delete(f.sockets.failing, at)
		} else if why == "" && !slices.Contains(f.cfg.Engine, at) {
			why = f.sockets.failing[at]
		}
	}
	if f.cfg.Closed != nil && (f.sockets.closed == nil || *f.sockets.closed != why) {
		f.sockets.closed = &why
		f.cfg.Closed(why)
	}
}

// taken tells that a socket cannot be opened, and by whose fault, once until it can.
func (f *Feed) taken(at netip.AddrPort, err error) {
	if f.sockets.told[at] {
		return
	}
	f.sockets.failing[at] = fmt.Sprintf("%s: %v", at, err)
	message := fmt.Sprintf("cannot listen on %s: %v; it is tried again every %s", at, err, retryEvery)
	if pid, name, taken := host.PortHolder("tcp", at); taken {
		who := "a process that is not visible here"
		if pid != 0 {
			who = fmt.Sprintf("process %d (%s)", pid, name)
		}
		message = fmt.Sprintf("cannot listen on %s, which %s holds: Ingresses are not served there until that ends; --ingress-ports chooses other ports", at, who)
	}
	f.log.Warn(message)
	f.sockets.told[at] = f.cfg.Tell == nil || f.cfg.Tell(message)
}
