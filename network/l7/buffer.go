package l7

import "time"

// buffer returns one for a head, empty.
func (l *lane) buffer() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b
	}
	return make([]byte, 0, headSize)
}

// giveBack is when a buffer is not needed any more.
func (l *lane) giveBack(b []byte) {
	if cap(b) == headSize && len(l.spare) < 1024 {
		l.spare = append(l.spare, b[:0])
	}
}

// slab returns a buffer for frames, empty.
func (l *lane) slab() []byte {
	if n := len(l.slabs); n > 0 {
		b := l.slabs[n-1]
		l.slabs = l.slabs[:n-1]
		return b
	}
	return make([]byte, 0, muxHeld)
}

// slabBack is when a buffer for frames is not needed any more.
func (l *lane) slabBack(b []byte) {
	if cap(b) >= muxHeld && cap(b) <= 4*muxHeld && len(l.slabs) < 64 {
		l.slabs = append(l.slabs, b[:0])
	}
}

// dateLine is the Date field of this second.
type dateLine struct {
	second int64
	text   []byte
}

func (d *dateLine) at(now time.Time) []byte {
	if s := now.Unix(); s != d.second {
		d.second = s
		d.text = append(now.UTC().AppendFormat(append(d.text[:0], "Date: "...), "Mon, 02 Jan 2006 15:04:05 GMT"), "\r\n"...)
	}
	return d.text
}
