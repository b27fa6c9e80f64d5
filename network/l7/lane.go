package l7

import (
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/http2"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// Sizes in bytes, and bounds of connections that are kept to endpoints.
const (
	headSize   = 8 << 10   // of a head that a lane reads; a longer one is left to net/http
	answerHead = 64 << 10  // of an endpoint's head
	scratch    = 128 << 10 // of what is read at once
	fair       = 8         // reads of one connection before it is the others' turn
	mostKept   = 256       // connections to an endpoint, of one lane
	keepFor    = time.Minute
)

// lane serves connections of HTTP/1.1 whose requests need nothing special, one event after the other, without a goroutine for
// each: a request costs a read and a write at either side, and no switch between threads. What it cannot do it hands to net/http,
// with all bytes that it has read. Nothing of a lane is touched by anybody else, but for adopt.
type lane struct {
	e      *Engine
	epoll  int
	poller *os.File // epoll, which is a file that can be waited for
	waiter syscall.RawConn
	look   func(uintptr) bool // how many events are ready, and whether any is
	ready  int
	until  int64  // the deadline that poller has
	wake   int    // eventfd
	ends   []*end // by file descriptor
	events [256]unix.EpollEvent
	now    time.Time
	due    int64 // Unix nanoseconds: no deadline is before
	tended int64 // when kept connections were looked at

	request  http1.Request
	reading  []byte // what request was read from
	asked    route.Request
	choice   upstream.Choice
	response http1.Response
	in       []byte // what was read last
	out      []byte // what is written next
	date     dateLine
	spare    [][]byte // buffers of headSize
	tired    []*door  // at which accepting has failed
	told     time.Time
	kept     map[*upstream.Endpoint][]*wire
	closing  bool       // no connection is kept
	again    []*session // that have more to do without an event, when others had their turn
	before   []*session // room for the next again
	size     atomic.Int32

	fields     http2.Head // of a request, or its trailers
	fieldBlock []byte     // of the answer that is written next
	framed     []byte     // what was read last of a connection of HTTP/2
	slabs      [][]byte   // buffers of muxHeld
	streams    []*stream  // for the next requests
	dirty      []*mux     // that have something to write
	fed        []*stream  // that were sent a part of a body
	turn       []*stream  // room for those that are gone through
	resuming   []*stream  // as turn

	mu       sync.Mutex
	wishes   []func() // of others, that the lane does
	stopping bool
	cutting  bool
	ended    bool
	stopped  chan struct{}
}

// end is one socket of a lane.
type end struct {
	fd       int
	born     int32 // tells it from earlier ones of the same descriptor
	readable bool
	writable bool
	hangup   bool // the other side will send no more
	session  *session
	wire     *wire // nil: the end is the client's
	door     *door // nil: it is a connection
}

func newLane(e *Engine) (*lane, error) {
	l := &lane{e: e, in: make([]byte, scratch), out: make([]byte, 0, scratch), kept: map[*upstream.Endpoint][]*wire{}, stopped: make(chan struct{})}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(l.epoll, true) // as the runtime wants what it is to wait for
	l.poller = os.NewFile(uintptr(l.epoll), "epoll")
	l.look = func(uintptr) bool {
		l.ready = poll(l.epoll, l.events[:])
		return l.ready > 0
	}
	if l.waiter, err = l.poller.SyscallConn(); err == nil {
		l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	}
	if err != nil {
		_ = l.poller.Close()
		return nil, err
	}
	if err = watch(l.epoll, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.wake)}); err != nil {
		_, _ = l.poller.Close(), unix.Close(l.wake)
		return nil, err
	}
	go l.run()
	return l, nil
}

// adopt takes a connection; false if the lane has ended, or is about to.
func (l *lane) adopt(s *session) bool {
	l.size.Add(1)
	if !l.do(func() { l.watch(s) }) {
		l.size.Add(-1)
		return false
	}
	return true
}

// do has the lane do something; false if it has ended, or is about to.
func (l *lane) do(wish func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.wishes = append(l.wishes, wish)
	l.call()
	return true
}

// post has the lane do something on behalf of what it serves; false if it has ended.
func (l *lane) post(wish func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.wishes = append(l.wishes, wish)
	if len(l.wishes) == 1 {
		l.call()
	}
	return true
}

// watch begins to serve a connection.
func (l *lane) watch(s *session) {
	if err := l.add(&s.end); err != nil {
		l.e.log.Warn("a connection cannot be watched", "err", err)
		closeSocket(s.fd)
		s.conn.seat.leave()
		l.size.Add(-1)
		return
	}
	s.begin()
}

// call has the lane look at what others want.
func (l *lane) call() { _, _ = writeSocket(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) } // at most it is called already

// stop has the lane end its connections once their requests have been answered, or at once.
func (l *lane) stop(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping, l.cutting = true, l.cutting || cut
	select {
	case <-l.stopped:
	default:
		l.call()
	}
}

func (l *lane) run() {
	for stopping := false; !stopping || l.size.Load() > 0; {
		n := l.wait()
		l.now = time.Now()
		for i := range l.events[:n] {
			ev := &l.events[i]
			if int(ev.Fd) == l.wake {
				stopping = l.called()
			} else if at := l.ends[ev.Fd]; at != nil && at.door != nil {
				l.accept(at.door)
			} else if at != nil && at.born == ev.Pad {
				l.guarded(at, func() { l.happened(at, ev.Events) })
			}
		}
		turn := l.again
		l.again = l.before[:0]
		for _, s := range turn {
			if s.fd >= 0 || s.stream != nil {
				l.guarded(&s.end, s.happened)
			}
		}
		clear(turn)
		l.before = turn
		l.tend()
		for i := 0; i < len(l.dirty); i++ { // it may become longer
			m := l.dirty[i]
			l.guarded(&m.end, m.settle)
		}
		clear(l.dirty)
		l.dirty = l.dirty[:0]
	}
	for _, at := range l.ends {
		if at != nil {
			l.drop(at)
		}
	}
	l.mu.Lock() // nobody calls it meanwhile
	defer l.mu.Unlock()
	l.ended = true
	_, _ = l.poller.Close(), unix.Close(l.wake)
	close(l.stopped)
}

// wait returns the number of events that there are, and waits for one if there is none, by way of the runtime's own poller: a thread
// that blocks in the kernel loses its place in the scheduler, which costs more than a request does.
func (l *lane) wait() int {
	due := l.due
	if look := l.tended + int64(time.Second); len(l.kept) > 0 && (due == 0 || due > look) {
		due = look
	}
	if due != l.until {
		var at time.Time
		if due != 0 {
			at = time.Unix(0, due)
		}
		l.until = due
		_ = l.poller.SetReadDeadline(at) // it is open, and can be waited for
	}
	if len(l.again) > 0 {
		return poll(l.epoll, l.events[:])
	}
	l.ready = 0
	_ = l.waiter.Read(l.look) // an error is that due has come
	return l.ready
}

// called does what others want; true if the lane is to stop.
func (l *lane) called() bool {
	var count [8]byte
	_, _ = readSocket(l.wake, count[:]) // that it is called is all it says
	l.mu.Lock()
	wishes, stopping, cutting := l.wishes, l.stopping, l.cutting
	l.wishes = nil
	l.mu.Unlock()
	for _, wish := range wishes {
		wish()
	}
	l.closing = stopping
	for _, at := range l.ends {
		switch {
		case !stopping:
			return false
		case at == nil || at.session == nil || at.wire != nil:
		case at.session.mux != nil && cutting:
			at.session.mux.sever()
		case at.session.mux != nil:
			at.session.mux.drain()
		case cutting:
			at.session.abort(http.StatusServiceUnavailable)
		case at.session.phase == reading && len(at.session.in) == 0:
			at.session.close()
		}
	}
	return stopping
}

// add begins to watch a socket: every change is told once.
func (l *lane) add(at *end) error {
	for at.fd >= len(l.ends) {
		l.ends = append(l.ends, nil)
	}
	at.born = int32(l.now.UnixNano()>>10) ^ int32(at.fd)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(at.fd), Pad: at.born}
	if err := watch(l.epoll, at.fd, &ev); err != nil {
		return err
	}
	l.ends[at.fd] = at
	return nil
}

// drop closes a socket.
func (l *lane) drop(at *end) {
	if at.fd >= 0 {
		l.ends[at.fd] = nil
		closeSocket(at.fd) // which also ends the watching
		at.fd = -1
		if at.session != nil && at == &at.session.end {
			at.session.conn.seat.leave()
		}
	}
}

// guarded has a mistake in serving one connection end that connection, and no other, as net/http does.
func (l *lane) guarded(at *end, f func()) {
	defer func() {
		mistake := recover()
		if mistake == nil {
			return
		}
		l.e.log.Error("a connection was given up", "panic", mistake, "stack", string(debug.Stack()))
		if s := at.session; s != nil && s.stream != nil && s.stream.of != nil {
			s.stream.of.destroy()
		} else if s != nil && s.mux != nil {
			s.mux.destroy()
		} else if s != nil {
			if s.wire != nil {
				l.drop(&s.wire.end)
			}
			if s.fd >= 0 {
				l.size.Add(-1)
				l.drop(&s.end)
			}
		}
		l.drop(at)
	}()
	f()
}

// happened notes what is new at a socket, and goes on with what waited for it.
func (l *lane) happened(at *end, events uint32) {
	at.readable = at.readable || events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	at.writable = at.writable || events&unix.EPOLLOUT != 0
	at.hangup = at.hangup || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	switch {
	case at.wire != nil:
		at.wire.happened(events)
	case events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 && at.session.phase != reading:
		at.session.abort(statusClientGone)
	default:
		at.session.happened()
	}
}

// at notes a deadline.
func (l *lane) at(deadline int64) int64 {
	if deadline != 0 && (l.due == 0 || deadline < l.due) {
		l.due = deadline
	}
	return deadline
}

// tend ends what has taken too long, and closes connections that are kept for nothing.
func (l *lane) tend() {
	now := l.now.UnixNano()
	if l.due != 0 && l.due <= now {
		l.due = 0
		tired := l.tired
		l.tired = nil
		for _, d := range tired {
			l.attend(d)
		}
		for _, at := range l.ends {
			if at == nil || at.wire != nil || at.session == nil {
				continue
			}
			if s := at.session; s.mux != nil {
				l.guarded(at, func() { s.mux.tend(now) })
			} else if s.deadline != 0 && s.deadline <= now {
				s.late()
			} else {
				l.at(s.deadline)
			}
		}
	}
	if len(l.kept) == 0 || now-l.tended < int64(time.Second) {
		return
	}
	l.tended = now
	for e, list := range l.kept {
		n := 0
		for _, w := range list {
			if e.Gone() || now-w.since > int64(keepFor) {
				l.drop(&w.end)
			} else {
				list[n], n = w, n+1
			}
		}
		if clear(list[n:]); n == 0 {
			delete(l.kept, e)
		} else {
			l.kept[e] = list[:n]
		}
	}
}
