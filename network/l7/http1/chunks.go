package http1

// Chunks follows a chunked body (RFC 9112, 7.1) that is passed on as it is. The zero value is at its beginning.
type Chunks struct {
	state  chunkState
	digits int   // of the size that is being read
	left   int64 // of the chunk
	extra  int   // bytes of extensions and trailers, which are bounded

	trailers []byte // lines, of a body of which Next was asked
}

type chunkState uint8

const (
	inSize    chunkState = iota
	inPadding            // white space after a size, which some old servers write
	inExtension
	inSizeEnd // after the CR of a size
	inData
	inDataEnd
	inDataLF
	inTrailer    // at the beginning of a line
	inTrailerRow // within one
	inTrailerLF
	inEnd // after the CR of the last, empty line
	ended
)

const mostExtra = 16 << 10

// Scan follows some bytes, and returns how many of them are the body's, and whether it ends with them. It is not ok if they are no
// chunked body.
func (c *Chunks) Scan(b []byte) (n int, done, ok bool) {
	for n < len(b) && c.state != ended {
		if c.state == inData {
			part := min(c.left, int64(len(b)-n))
			n += int(part)
			if c.left -= part; c.left == 0 {
				c.state = inDataEnd
			}
			continue
		}
		if !c.step(b[n]) {
			return n, false, false
		}
		n++
	}
	return n, c.state == ended, true
}

// Next takes the next data out of some bytes of the body, of which n are the body's until its end. It is done after the last of them,
// and not ok if they are no chunked body.
func (c *Chunks) Next(b []byte) (data []byte, n int, done, ok bool) {
	for n < len(b) && c.state != ended {
		if c.state == inData {
			part := min(c.left, int64(len(b)-n))
			if c.left -= part; c.left == 0 {
				c.state = inDataEnd
			}
			return b[n : n+int(part)], n + int(part), false, true
		}
		if c.state == inTrailerRow || c.state == inTrailerLF || c.state == inTrailer && b[n] != '\r' {
			c.trailers = append(c.trailers, b[n])
		}
		if !c.step(b[n]) {
			return nil, n, false, false
		}
		n++
	}
	return nil, n, c.state == ended, true
}

// Trailers calls f with each field after the body's data, when that is done; false if these are no fields.
func (c *Chunks) Trailers(f func(name, value []byte)) (ok bool) {
	for at := 0; at < len(c.trailers); {
		t, v := next(c.trailers, at)
		if v != Whole {
			return false
		}
		if t.Kind == EndToEnd {
			f(t.Name(c.trailers), t.Value(c.trailers))
		}
		at = t.End
	}
	return true
}

// step follows one byte that is not data.
func (c *Chunks) step(b byte) bool {
	expect := func(want byte, next chunkState) bool {
		c.state = next
		return b == want
	}
	switch c.state {
	case inSize:
		return c.size(b)
	case inSizeEnd:
		next := inData
		if c.left == 0 {
			next = inTrailer
		}
		c.digits = 0
		return expect('\n', next)
	case inDataEnd:
		return expect('\r', inDataLF)
	case inDataLF:
		return expect('\n', inSize)
	case inTrailerLF:
		return expect('\n', inTrailer)
	case inEnd:
		return expect('\n', ended)
	}
	return c.text(b)
}

// size follows the number at the beginning of a chunk.
func (c *Chunks) size(b byte) bool {
	switch v := hex[b]; {
	case v < 16:
		c.digits++
		c.left = c.left<<4 | int64(v)
		return c.digits <= 12
	case c.digits == 0:
		return false
	case b == '\r':
		c.state = inSizeEnd
	case b == ';':
		c.state = inExtension
	case b == ' ', b == '\t':
		c.state = inPadding
	default:
		return false
	}
	return true
}

// text follows extensions and trailers, which mean nothing here.
func (c *Chunks) text(b byte) bool {
	c.extra++
	switch {
	case c.extra > mostExtra:
		return false
	case c.state == inPadding && b != '\r':
		return b == ' ' || b == '\t'
	case b != '\r':
		if c.state == inTrailer {
			c.state = inTrailerRow
		}
		return class[b]&value != 0
	case c.state == inExtension, c.state == inPadding:
		c.state = inSizeEnd
	case c.state == inTrailer:
		c.state = inEnd
	default:
		c.state = inTrailerLF
	}
	return true
}

var hex = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range "0123456789abcdef" {
		t[c] = uint8(i)
	}
	for i, c := range "ABCDEF" {
		t[c] = uint8(10 + i)
	}
	return t
}()
