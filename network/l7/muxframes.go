package l7

import (
	"slices"

	"fairlead.dev/fairlead/network/l7/http2"
)

// take reads the frames in some bytes, and keeps the beginning of one.
func (m *mux) take(b []byte) {
	l := m.lane
	for ; m.preface < len(http2.Preface) && len(b) > 0; b = b[1:] {
		if b[0] != http2.Preface[m.preface] {
			m.quit(http2.ProtocolError)
			return
		}
		m.preface++
	}
	for m.halting != over {
		var f http2.Frame
		n, fault := f.Read(b)
		if n == 0 && fault == (http2.Fault{}) {
			break
		}
		if fault == (http2.Fault{}) {
			fault = m.frame(&f)
		}
		if fault.Stream != 0 && fault.Stream <= m.newest && m.parts == 0 {
			m.reset(fault.Stream, fault.Code)
		} else if fault.Code != http2.NoError {
			m.quit(fault.Code)
		}
		b = b[n:]
	}
	m.part = append(m.part[:0], b...)
	for _, st := range l.fed {
		st.upstream()
	}
	clear(l.fed)
	l.fed = l.fed[:0]
}

// frame does what a frame says.
func (m *mux) frame(f *http2.Frame) http2.Fault {
	if (m.parts > 0) != (f.Type == http2.Continuation) || m.parts > 0 && f.Stream != m.heading.Stream {
		return http2.Fault{Code: http2.ProtocolError}
	}
	if !m.greeted && (f.Type != http2.Settings || f.Flags&http2.Ack != 0) {
		return http2.Fault{Code: http2.ProtocolError}
	}
	m.greeted = true
	switch f.Type {
	case http2.Headers, http2.Continuation:
		return m.headers(f)
	case http2.Data:
		return m.data(f)
	case http2.Reset:
		return m.dismissed(f)
	case http2.Settings:
		return m.settings(f)
	case http2.Ping:
		switch {
		case f.Flags&http2.Ack == 0:
			m.queue(append(http2.AppendFrame(m.queued(), http2.Ping, http2.Ack, 0, len(f.Payload)), f.Payload...))
		case m.halting == warned && string(f.Payload) == drained:
			m.conclude()
		}
	case http2.GoAway:
		m.conclude() // it opens no stream any more
	case http2.WindowUpdate:
		return m.widen(f)
	}
	return http2.Fault{} // priorities, and what nobody knows, say nothing
}

// headers are those of a new stream, or trailers. Each block has to be decoded, as what follows may refer to it.
func (m *mux) headers(f *http2.Frame) http2.Fault {
	if m.parts++; m.parts == 1 {
		m.heading = *f
		m.heading.Payload = nil
	}
	block := f.Payload
	if m.parts > 1 || f.Flags&http2.EndHeaders == 0 {
		if m.block = append(m.block, block...); len(m.block) > maxHead || m.parts > mostParts {
			return http2.Fault{Code: http2.EnhanceYourCalm}
		}
		block = m.block
	}
	if f.Flags&http2.EndHeaders == 0 {
		return http2.Fault{}
	}
	id, ends := m.heading.Stream, m.heading.Ends()
	m.parts, m.block = 0, nil
	st := m.stream(id)
	head := &m.lane.fields
	head.Reset(st != nil, maxHead)
	if _, err := m.decoder.Write(block); err != nil || m.decoder.Close() != nil {
		return http2.Fault{Code: http2.CompressionError}
	}
	head.End(ends)
	if st != nil {
		return st.trailers(head, ends)
	}
	return m.request(id, head, ends)
}

// request is the head of a new stream's.
func (m *mux) request(id uint32, head *http2.Head, ends bool) http2.Fault {
	switch {
	case m.wasReset(id):
		return http2.Fault{} // was on its way
	case slices.Contains(m.ended[:], id):
		return http2.Fault{Code: http2.StreamClosed}
	case id%2 == 0 || id <= m.newest:
		return http2.Fault{Code: http2.ProtocolError}
	}
	m.newest = id
	if m.halting >= serving {
		m.remember(id, true) // the client knows that it is not served, or will
		return http2.Fault{}
	}
	switch {
	case len(m.streams) >= mostStreams || m.running >= mostStreams:
		return http2.Fault{Code: http2.RefusedStream, Stream: id}
	case head.Malformed != "":
		return http2.Fault{Code: http2.ProtocolError, Stream: id}
	}
	m.lane.begin(m, id, head, ends)
	return http2.Fault{}
}

// stream is one that is open, by its id; nil if there is none.
func (m *mux) stream(id uint32) *stream {
	if at, is := m.find(id); is {
		return m.streams[at]
	}
	return nil
}

func (m *mux) find(id uint32) (at int, is bool) {
	for at = len(m.streams); at > 0 && m.streams[at-1].id >= id; at-- { // usually one of the last
	}
	return at, at < len(m.streams) && m.streams[at].id == id
}

// reset ends a stream by a word to the client, whether it is open or not.
func (m *mux) reset(id uint32, code http2.Code) {
	m.wasted()
	if st := m.stream(id); st != nil {
		st.reset(code, statusClientGone)
		return
	}
	m.remember(id, true)
	m.queue(http2.AppendNumber(m.queued(), http2.Reset, id, uint32(code)))
}

// remember notes a stream for a while: frames of it may be on their way. It was reset, or has ended as it should.
func (m *mux) remember(id uint32, reset bool) {
	if reset {
		id |= 1 << 31
	}
	m.ended[m.endings%len(m.ended)] = id
	m.endings++
}

// wasReset reports whether a stream was reset from here.
func (m *mux) wasReset(id uint32) bool { return slices.Contains(m.ended[:], id|1<<31) }

// data is a part of a request's body.
func (m *mux) data(f *http2.Frame) http2.Fault {
	if f.Stream > m.newest {
		return http2.Fault{Code: http2.ProtocolError}
	}
	if m.room -= int64(f.Length); m.room < 0 {
		return http2.Fault{Code: http2.FlowControlError}
	}
	st := m.stream(f.Stream)
	if st == nil || st.ended {
		m.pass(nil, f.Length)
		if st == nil && m.wasReset(f.Stream) {
			return http2.Fault{} // was on its way
		}
		return http2.Fault{Code: http2.StreamClosed, Stream: f.Stream}
	}
	if st.room -= int64(f.Length); st.room < 0 {
		return http2.Fault{Code: http2.FlowControlError, Stream: f.Stream}
	}
	m.pass(st, f.Length-len(f.Payload)) // padding
	return st.feed(f.Payload, f.Ends())
}

// pass gives room back to the client for bytes that were passed on, now and then.
func (m *mux) pass(st *stream, n int) {
	if m.passed += int64(n); m.passed >= muxWindow/4 {
		m.room += m.passed
		m.queue(http2.AppendNumber(m.queued(), http2.WindowUpdate, 0, uint32(m.passed)))
		m.passed = 0
	}
	if st == nil || st.ended {
		return
	}
	if st.passed += int64(n); st.passed >= streamWindow/4 {
		st.room += st.passed
		m.queue(http2.AppendNumber(m.queued(), http2.WindowUpdate, st.id, uint32(st.passed)))
		st.passed = 0
	}
}

// dismissed is when the client does not want a stream any more.
func (m *mux) dismissed(f *http2.Frame) http2.Fault {
	if f.Stream > m.newest {
		return http2.Fault{Code: http2.ProtocolError}
	}
	if st := m.stream(f.Stream); st != nil {
		m.wasted()
		st.cancel(statusClientGone)
	}
	return http2.Fault{}
}

// settings are the client's, from now on.
func (m *mux) settings(f *http2.Frame) http2.Fault {
	if f.Flags&http2.Ack != 0 {
		return http2.Fault{}
	}
	before := m.limits
	if code := m.limits.Read(f.Payload); code != http2.NoError {
		return http2.Fault{Code: code}
	}
	m.untable = m.limits.Shrunk && !before.Shrunk || m.untable
	for _, st := range m.streams {
		if st.window += m.limits.Window - before.Window; st.window > 1<<31-1 {
			return http2.Fault{Code: http2.FlowControlError}
		}
	}
	m.queue(http2.AppendFrame(m.queued(), http2.Settings, http2.Ack, 0, 0))
	if m.limits.Window > before.Window {
		m.resume()
	}
	return http2.Fault{}
}

// widen is when the client takes more.
func (m *mux) widen(f *http2.Frame) http2.Fault {
	n := int64(f.Number())
	if f.Stream == 0 {
		if m.window += n; m.window > 1<<31-1 {
			return http2.Fault{Code: http2.FlowControlError}
		}
		m.resume()
		return http2.Fault{}
	}
	if f.Stream > m.newest {
		return http2.Fault{Code: http2.ProtocolError}
	}
	st := m.stream(f.Stream)
	if st == nil {
		return http2.Fault{}
	}
	if st.window += n; st.window > 1<<31-1 {
		return http2.Fault{Code: http2.FlowControlError, Stream: f.Stream}
	}
	if !m.full() {
		st.resume()
	}
	return http2.Fault{}
}

// answer sends fields of an answer.
func (m *mux) answer(st *stream, fields []byte, ends bool) {
	if m.untable {
		m.untable = false
		fields = append(http2.AppendNoTable(nil), fields...)
	}
	m.queue(http2.AppendHeaders(m.queued(), st.id, ends, fields, m.limits.Frame))
	st.said = ends || st.said
}
