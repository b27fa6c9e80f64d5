package l7

import (
	"time"

	"golang.org/x/net/http2/hpack"

	"fairlead.dev/fairlead/network/l7/http2"
)

// Bounds of a connection of HTTP/2.
const (
	mostStreams  = 100       // at once
	streamWindow = 256 << 10 // bytes that a client may send of a body before they are passed on
	muxWindow    = 1 << 20   // of all bodies
	firstWindow  = 65535     // of a connection, until it is widened
	muxScratch   = 64 << 10  // of what is read of it at once
	muxHeld      = 64 << 10  // of frames that are written at once
	muxUnread    = 256 << 10 // of frames that the client has not read: then nothing is read of it
	mostParts    = 64        // frames of one head
	mostResets   = 1000      // of streams, by either side; a request that is answered makes good for one,
	forgiven     = 50        // and each second for some
	lastCall     = time.Second
)

// mux is a client's connection of HTTP/2 in a lane. Its streams are sessions, with a request each; the session that the connection
// was has its socket and TLS, and no request.
type mux struct {
	*session
	streams []*stream // that are open, by rising id
	ended   [32]uint32
	endings int    // that ended has had
	newest  uint32 // id that the client has used
	final   uint32 // and of the last that is served, when that is known
	running int    // errands, those of streams that have ended included

	preface int    // bytes that were read of it
	greeted bool   // its SETTINGS have come, which are the first frame
	part    []byte // of a frame
	block   []byte // of a head that comes in parts
	heading http2.Frame
	parts   int
	decoder *hpack.Decoder

	limits http2.Limits
	window int64 // bytes of bodies that the client takes
	room   int64 // that it may send
	passed int64 // that it may send again, and was not told yet
	turn   int   // which stream is the first to use a window

	frames  []byte // that are written at the end of the lane's turn
	dirty   bool   // that is noted
	broken  bool   // the client has gone
	halting halting
	untable bool // the client has to be told that HPACK has no table
	waste   int  // streams that were reset
	wasteAt time.Time
	bound   bound
}

// halting is how far the end of a connection is.
type halting uint8

const (
	onward  halting = iota
	warned          // the client knows that it is to open no streams
	serving         // what it has opened before that is served
	over            // nothing more is read
)

// bound is what a connection's deadline is for.
type bound uint8

const (
	none bound = iota
	atRest
	inHead
	unread
	inWarning
)

// multiplex has a connection speak HTTP/2 from now on. Some bytes were read of it.
func (s *session) multiplex(before []byte) {
	m := &mux{session: s, limits: http2.DefaultLimits(), window: firstWindow, room: muxWindow}
	s.mux = m
	l := s.lane
	if l.framed == nil {
		l.framed = make([]byte, muxScratch)
	}
	m.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) { l.fields.Add(f.Name, f.Value) })
	m.decoder.SetMaxStringLength(maxHead)
	m.queue(http2.AppendNumber(http2.AppendSettings(m.queued(), mostStreams, streamWindow, maxHead), http2.WindowUpdate, 0, muxWindow-firstWindow))
	if l.closing {
		m.drain()
	}
	m.take(before)
	m.woken()
}

// queued are the frames that wait to be written; more are appended, for queue.
func (m *mux) queued() []byte {
	if m.frames == nil {
		m.frames = m.lane.slab()
	}
	return m.frames
}

// queue has frames be written that were appended to those queued.
func (m *mux) queue(frames []byte) {
	m.frames = frames
	if !m.dirty {
		m.dirty = true
		m.lane.dirty = append(m.lane.dirty, m)
	}
	if len(frames) >= muxHeld {
		m.ship()
	}
}

// ship writes the frames, if the socket has taken those before. That the client has gone is for settle to find: streams are in use here.
func (m *mux) ship() {
	if m.fd < 0 || len(m.frames) == 0 || len(m.out) > 0 {
		return
	}
	m.broken = !m.session.write(m.frames) || m.broken
	m.lane.slabBack(m.frames)
	m.frames = nil
}

// full reports whether the client does not read what was written: no more is made of bodies.
func (m *mux) full() bool { return len(m.out) > 0 || len(m.frames) >= muxUnread }

// settle is at the end of a lane's turn.
func (m *mux) settle() {
	m.dirty = false
	m.ship()
	switch {
	case m.fd < 0, m.mux != m: // it has ended
		m.release()
	case m.broken:
		m.gone()
	case m.halting == over, m.halting == serving && len(m.streams) == 0:
		m.hangUp()
	default:
		m.watchTime()
	}
}

// woken goes on with what waited for the client's socket.
func (m *mux) woken() {
	if len(m.out) > 0 && m.writable {
		before := len(m.out)
		if m.broken = !m.flush() || m.broken; len(m.out) < before {
			m.bound = none // it reads
		}
		if len(m.out) == 0 {
			m.resume()
		}
	}
	l := m.lane
	for turn := 0; m.fd >= 0 && m.halting != over && !m.broken && len(m.out)+len(m.frames) < muxUnread && m.canRead(); turn++ {
		if turn == fair {
			l.again = append(l.again, m.session)
			break
		}
		had := copy(l.framed, m.part)
		n, ok := m.read(l.framed[had:])
		if !ok {
			m.broken = true
			break
		}
		if n == 0 {
			break
		}
		m.take(l.framed[:had+n])
	}
	m.queue(m.queued()) // or there is a deadline to be set
}

// gone is when the client's connection has broken: what it has asked for, nobody wants.
func (m *mux) gone() {
	for len(m.streams) > 0 {
		m.streams[len(m.streams)-1].cancel(statusClientGone)
	}
	m.release()
	m.phase = ending // without a word in TLS
	m.session.close()
}

// sever ends the connection and what is under way.
func (m *mux) sever() {
	resetSocket(m.fd)
	m.gone()
}

// hangUp ends the connection after its last frame.
func (m *mux) hangUp() {
	for len(m.streams) > 0 {
		m.streams[len(m.streams)-1].cancel(statusClientGone)
	}
	if len(m.frames) > 0 {
		_ = m.session.write(m.frames) // who has gone needs no last word
	}
	m.release()
	m.mux = nil // the rest is as with any connection
	if m.phase = ending; len(m.out) > 0 {
		m.deadline = m.lane.at(m.lane.now.Add(idleTimeout).UnixNano())
		return
	}
	m.linger()
}

func (m *mux) release() {
	m.lane.slabBack(m.frames)
	m.frames, m.part, m.block, m.decoder = nil, nil, nil, nil
}

// destroy is after a mistake of the lane's own.
func (m *mux) destroy() {
	for _, st := range m.streams {
		if st.wire != nil {
			m.lane.drop(&st.wire.end)
		}
		if st.errand != nil {
			st.errand.leave()
		}
		st.of, st.wire = nil, nil
	}
	m.streams, m.halting = nil, over
	if m.fd >= 0 {
		m.lane.size.Add(-1)
		m.lane.drop(&m.end)
	}
}

// quit ends the connection for a reason that the client is told.
func (m *mux) quit(code http2.Code) {
	if m.halting < over {
		if m.halting < serving {
			m.final = m.newest
		}
		m.halting = over
		m.queue(http2.AppendGoAway(m.queued(), m.final, code))
	}
}

// drain has the client open no more streams. One that it has opened before it knows is served, so that the last one is named only
// when it has answered a ping.
func (m *mux) drain() {
	if m.halting != onward {
		return
	}
	m.halting = warned
	b := http2.AppendGoAway(m.queued(), 1<<31-1, http2.NoError)
	m.queue(append(http2.AppendFrame(b, http2.Ping, 0, 0, len(drained)), drained...))
}

// drained is what the ping says after which no stream is opened.
const drained = "the end."

// conclude names the last stream that is served.
func (m *mux) conclude() {
	if m.halting < serving {
		m.halting, m.final = serving, m.newest
		m.queue(http2.AppendGoAway(m.queued(), m.final, http2.NoError))
	}
}

// expire is when the connection's deadline has passed.
func (m *mux) expire() {
	m.deadline = 0
	switch m.bound {
	case atRest, inWarning:
		m.conclude()
	case inHead, unread:
		m.gone()
	}
}

// watchTime bounds what the connection is at.
func (m *mux) watchTime() {
	is, most := none, time.Duration(0)
	switch {
	case len(m.out) > 0:
		is, most = unread, idleTimeout
	case m.parts > 0:
		is, most = inHead, headTimeout
	case m.halting == warned:
		is, most = inWarning, lastCall
	case len(m.streams) == 0:
		is, most = atRest, idleTimeout
		if len(m.part) == 0 {
			m.part = nil
		}
	}
	if is == m.bound {
		return
	}
	m.bound, m.deadline = is, 0
	if is != none {
		m.deadline = m.lane.at(m.lane.now.Add(most).UnixNano())
	}
}

// tend ends what has taken too long.
func (m *mux) tend(now int64) {
	l := m.lane
	l.turn = append(l.turn[:0], m.streams...)
	for _, st := range l.turn {
		if st.deadline != 0 && st.deadline <= now {
			st.late()
		} else {
			l.at(st.deadline)
		}
	}
	clear(l.turn)
	if m.deadline != 0 && m.deadline <= now {
		m.expire()
	} else {
		l.at(m.deadline)
	}
}

// wasted counts a stream that was reset, by either side: a client whose streams mostly are is served no more, as it costs the
// endpoints more than itself.
func (m *mux) wasted() {
	passed := m.lane.now.Sub(m.wasteAt).Seconds()
	if back := int(min(passed*forgiven, mostResets)); back > 0 {
		m.waste, m.wasteAt = max(m.waste-back, 0), m.lane.now
	}
	if m.waste++; m.waste > mostResets {
		m.quit(http2.EnhanceYourCalm)
	}
}

// resume goes on with bodies that waited for a window, or for the client to read.
func (m *mux) resume() {
	l := m.lane
	n := len(m.streams)
	if n == 0 {
		return
	}
	m.turn = (m.turn + 1) % n // so that each is the first at times
	list := append(append(l.resuming[:0], m.streams[m.turn:]...), m.streams[:m.turn]...)
	l.resuming = nil // it may come to this again
	for _, st := range list {
		if m.full() {
			break
		}
		if st.of == m {
			st.resume()
		}
	}
	clear(list)
	l.resuming = list[:0]
}
