package l7

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/l7/route"
)

// atOnce is how many connections are accepted before those that are open have their turn.
const atOnce = 16

// breath is how long no connection is accepted when that has failed.
const breath = 100 * time.Millisecond

// Of the file descriptors that the process may have, others need some: the node runs in it, too.
const (
	reserved  = 1000
	tellEvery = 10 * time.Second // that connections are not accepted
)

// mostDescriptor is up to which descriptor a connection is accepted. The kernel gives the lowest that is free, so that its number
// says how many are in use; and each connection may want another one, to an endpoint.
func mostDescriptor() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20
	}
	n := int(min(limit.Cur, 1<<30))
	return (n - min(reserved, n/2)) / 2
}

// door is a listening socket, at which every lane accepts connections.
type door struct {
	fd   int
	of   PointOf
	open sync.WaitGroup // lanes that watch it
}

// Listen accepts connections at a listener's socket, which is the engine's from then on, until stop or Shutdown is called: then
// nobody listens there any more, and connections that were accepted go on.
func (e *Engine) Listen(l *net.TCPListener, of PointOf) (stop func(), err error) {
	if len(e.lanes) == 0 {
		return nil, errors.Join(errors.New("there is no lane to accept connections"), l.Close())
	}
	fd, err := socketOf(l)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	noDelay(fd) // those that are accepted have it from here
	keepAlive(fd)
	d := &door{fd: fd, of: of}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		closeSocket(fd)
		return nil, errShutDown
	}
	e.doors[d] = true
	for _, lane := range e.lanes {
		if lane.do(func() { lane.attend(d) }) {
			d.open.Add(1)
		}
	}
	return func() { e.shut(d) }, nil
}

// shut closes a door, once.
func (e *Engine) shut(d *door) {
	e.mu.Lock()
	open := e.doors[d]
	delete(e.doors, d)
	e.mu.Unlock()
	if !open {
		return
	}
	for _, lane := range e.lanes {
		if !lane.do(func() { lane.desert(d) }) {
			d.open.Done()
		}
	}
	d.open.Wait()
	closeSocket(d.fd)
}

// attend begins to accept connections at a door: of those who wait there, a new one wakes one.
func (l *lane) attend(d *door) {
	for d.fd >= len(l.ends) {
		l.ends = append(l.ends, nil)
	}
	l.ends[d.fd] = &end{fd: d.fd, door: d}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(d.fd)}
	if err := watch(l.epoll, d.fd, &ev); err != nil {
		l.e.log.Error("connections are not accepted", "err", err)
	}
}

func (l *lane) desert(d *door) {
	unwatch(l.epoll, d.fd)
	l.tired = slices.DeleteFunc(l.tired, func(t *door) bool { return t == d })
	l.ends[d.fd] = nil
	d.open.Done()
}

// accept takes some of the connections that wait at a door.
func (l *lane) accept(d *door) {
	for range atOnce {
		fd, from, err := accept(d.fd)
		switch {
		case err == 0 && fd <= l.e.most:
			l.admit(fd, from, d.of)
		case err == 0:
			resetSocket(fd) // with nothing left to wait for
			closeSocket(fd)
			l.refusing(unix.EMFILE)
		case err == unix.EAGAIN:
			return
		case err == unix.ECONNABORTED, err == unix.EINTR:
		default: // no file descriptors or memory left
			l.refusing(err)
			unwatch(l.epoll, d.fd)
			l.tired = append(l.tired, d)
			l.at(l.now.Add(breath).UnixNano())
			return
		}
	}
}

// refusing tells why connections are not accepted, now and then.
func (l *lane) refusing(why error) {
	if l.now.Sub(l.told) >= tellEvery {
		l.told = l.now
		l.e.log.Warn("connections are not accepted: too many are open; raise the limit of open files, or bound what one client may have", "most", l.e.most, "err", why)
	}
}

// refusingOne tells who is refused, now and then.
func (l *lane) refusingOne(client netip.Addr) {
	if l.now.Sub(l.told) >= tellEvery {
		l.told = l.now
		l.e.log.Warn("connections of a client are not accepted: it has a quarter of all that the node can have; raise the limit of open files, or have what is in front of it speak PROXY protocol", "client", client, "most", l.e.each)
	}
}

// admit takes a connection. One that is plain HTTP from its first byte stays in a lane.
func (l *lane) admit(fd int, from netip.AddrPort, of PointOf) {
	e := l.e
	point, err := of(fd)
	if err != nil {
		e.log.Debug("a connection leads nowhere", "from", from, "err", err)
		closeSocket(fd) // there is nobody to tell
		return
	}
	entry := e.table.Load().Entries[point]
	c := &connection{point: point, client: from}
	between := entry != nil && trusted(entry.ProxyFrom, from.Addr()) // its clients are counted when they are known
	if !between {
		var may bool
		if c.seat, may = e.crowd.enter(from.Addr(), e.each); !may {
			resetSocket(fd)
			closeSocket(fd)
			l.refusingOne(from.Addr())
			return
		}
	}
	if !e.noLanes && entry != nil && entry.Protocol == route.HTTP && !between {
		l.take(fd, c)
		return
	}
	go func() { // whatever else it is takes messages to find out
		conn, err := connOf(fd)
		if err != nil {
			e.log.Warn("a connection cannot be served", "from", from, "err", err)
			c.seat.leave()
			return
		}
		c.Conn = conn
		e.converse(c)
	}()
}

// take has a connection be this lane's, or another's that has clearly fewer.
func (l *lane) take(fd int, c *connection) {
	best := l
	for _, other := range l.e.lanes {
		if other.size.Load()+fewer < best.size.Load() {
			best = other
		}
	}
	s := newSession(best, fd, c, nil)
	if best != l {
		if !best.adopt(s) {
			closeSocket(fd)
			c.seat.leave()
		}
		return
	}
	l.size.Add(1)
	l.watch(s)
}

// fewer is by how many connections another lane has to have less, to be worth a call.
const fewer = 8
