package http2

import "encoding/binary"

// AppendFrame appends the head of a frame, whose payload the caller appends.
func AppendFrame(b []byte, t Type, flags uint8, stream uint32, length int) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), flags, byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendNumber appends a frame of one number: a Reset with its Code, or a WindowUpdate.
func AppendNumber(b []byte, t Type, stream, number uint32) []byte {
	return binary.BigEndian.AppendUint32(AppendFrame(b, t, 0, stream, 4), number)
}

// AppendGoAway appends one: the last stream that is served, and why.
func AppendGoAway(b []byte, last uint32, code Code) []byte {
	b = binary.BigEndian.AppendUint32(AppendFrame(b, GoAway, 0, 0, 8), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

// AppendSettings appends what a server asks for: how many streams there may be at once, the window of a new one, and the size of a head.
func AppendSettings(b []byte, streams, window, head uint32) []byte {
	b = AppendFrame(b, Settings, 0, 0, 18)
	for _, s := range [...]struct {
		id    uint16
		value uint32
	}{{3, streams}, {4, window}, {6, head}} {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, s.id), s.value)
	}
	return b
}

// AppendHeaders appends a block of fields, in as many frames as it takes.
func AppendHeaders(b []byte, stream uint32, ends bool, block []byte, most int) []byte {
	t, flags := Headers, uint8(0)
	if ends {
		flags = EndStream
	}
	for {
		part := block[:min(len(block), most)]
		if block = block[len(part):]; len(block) == 0 {
			flags |= EndHeaders
		}
		b = append(AppendFrame(b, t, flags, stream, len(part)), part...)
		if len(block) == 0 {
			return b
		}
		t, flags = Continuation, 0
	}
}

// names are the fields of HPACK's static table that answers may have, by their index.
var names = map[string]uint8{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24, "content-disposition": 25,
	"content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29, "content-range": 30, "content-type": 31,
	"date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45, "location": 46, "refresh": 52, "retry-after": 53, "server": 54,
	"set-cookie": 55, "strict-transport-security": 56, "vary": 59, "via": 60, "www-authenticate": 61,
}

// statuses are the whole fields of the static table.
var statuses = [600]uint8{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

// The fields of an answer are written as they are, without a table that both sides would have to keep: that costs some bytes and no
// memory, and needs no state.

// AppendNoTable appends that no table is used, which a client has to be told first that wants a smaller one than the usual.
func AppendNoTable(b []byte) []byte { return append(b, 0x20) }

// AppendStatus appends the status of an answer, which comes first: 100 to 999.
func AppendStatus(b []byte, status int) []byte {
	if status < len(statuses) && statuses[status] != 0 {
		return append(b, 0x80|statuses[status])
	}
	return append(b, 8, 3, '0'+byte(status/100%10), '0'+byte(status/10%10), '0'+byte(status%10))
}

// AppendField appends a field, whose name becomes lower case.
func AppendField[Text string | []byte](b []byte, name string, value Text) []byte {
	return append(appendLength(appendName(b, name), len(value), 0x7f), value...)
}

func appendName(b []byte, name string) []byte {
	var room [64]byte
	lower := appendLower(room[:0], name)
	if i := names[string(lower)]; i != 0 {
		return appendLength(b, int(i), 0xf)
	}
	b = appendLength(append(b, 0), len(lower), 0x7f)
	return append(b, lower...)
}

func appendLower(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendLength appends a number with a prefix of some bits (RFC 7541, 5.1), the others of which are zero.
func appendLength(b []byte, n, prefix int) []byte {
	if n < prefix {
		return append(b, byte(n))
	}
	b = append(b, byte(prefix))
	for n -= prefix; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
