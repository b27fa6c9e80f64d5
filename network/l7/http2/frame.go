package http2

import "encoding/binary"

// Preface is what a client's connection begins with.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Sizes of frames in bytes.
const (
	FrameHead = 9
	FrameSize = 16 << 10 // of a payload, unless the other side allows more
)

// Type is a frame's.
type Type uint8

// The types of frames.
const (
	Data Type = iota
	Headers
	Priority
	Reset
	Settings
	PushPromise
	Ping
	GoAway
	WindowUpdate
	Continuation
)

// Flags of frames.
const (
	EndStream  = 0x1 // of Data and Headers
	Ack        = 0x1 // of Settings and Ping
	EndHeaders = 0x4
	padded     = 0x8
	prioritary = 0x20
)

// Code is why a stream or a connection ends.
type Code uint32

// The codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

// Fault is what is wrong with a frame. The zero value is that nothing is.
type Fault struct {
	Code   Code
	Stream uint32 // whose fault it is; 0: the connection's
}

// Frame is one, whose Payload refers to the bytes that it was read from.
type Frame struct {
	Type    Type
	Flags   uint8
	Stream  uint32
	Payload []byte // without padding and priority
	Length  int    // of the payload with these, which is what windows count
}

// Ends reports whether nothing of the stream follows.
func (f *Frame) Ends() bool {
	return f.Flags&EndStream != 0 && (f.Type == Data || f.Type == Headers)
}

// Number is what a payload begins with: a code, or the increment of a window or a stream, which have a bit less.
func (f *Frame) Number() uint32 {
	n := binary.BigEndian.Uint32(f.Payload)
	if f.Type != Reset {
		n &= 1<<31 - 1
	}
	return n
}

// Read reads the frame at the beginning of some bytes, and returns how many are its own: 0 is that there are too few to say.
func (f *Frame) Read(b []byte) (n int, fault Fault) {
	if len(b) < FrameHead {
		return 0, Fault{}
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	*f = Frame{Type: Type(b[3]), Flags: b[4], Stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1), Length: length}
	if length > FrameSize {
		return FrameHead, Fault{Code: FrameSizeError}
	}
	if len(b) < FrameHead+length {
		return 0, Fault{}
	}
	f.Payload = b[FrameHead : FrameHead+length]
	return FrameHead + length, f.check()
}

// shape is what a type of frame looks like.
type shape struct {
	stream      bool // belongs to one; others belong to the connection
	least, most int  // of its payload
}

var shapes = [...]shape{
	Data: {true, 0, FrameSize}, Headers: {true, 0, FrameSize}, Priority: {true, 5, 5}, Reset: {true, 4, 4}, Settings: {false, 0, FrameSize},
	Ping: {false, 8, 8}, GoAway: {false, 8, FrameSize}, WindowUpdate: {true, 4, 4}, Continuation: {true, 0, FrameSize},
}

// check looks at what can be said of a frame alone, and takes padding and priority away.
func (f *Frame) check() Fault {
	if int(f.Type) >= len(shapes) {
		return Fault{} // of an extension: it is ignored
	}
	s := shapes[f.Type]
	switch {
	case f.Type == PushPromise,
		s.stream && f.Stream == 0 && f.Type != WindowUpdate,
		!s.stream && f.Stream != 0:
		return Fault{Code: ProtocolError}
	case f.Type == Priority && f.Length != 5:
		return Fault{FrameSizeError, f.Stream}
	case f.Length < s.least || f.Length > s.most, f.Type == Settings && (f.Length%6 != 0 || f.Flags&Ack != 0 && f.Length > 0):
		return Fault{Code: FrameSizeError}
	}
	switch f.Type {
	case Data, Headers:
		return f.strip()
	case Priority:
		return f.independent()
	case WindowUpdate:
		if f.Number() == 0 {
			return Fault{ProtocolError, f.Stream}
		}
	}
	return Fault{}
}

// strip takes padding and priority away.
func (f *Frame) strip() Fault {
	padding := 0
	if f.Flags&padded != 0 {
		if len(f.Payload) == 0 {
			return Fault{Code: FrameSizeError}
		}
		padding, f.Payload = int(f.Payload[0]), f.Payload[1:]
	}
	if padding > len(f.Payload) {
		return Fault{Code: ProtocolError}
	}
	f.Payload = f.Payload[:len(f.Payload)-padding]
	if f.Type == Data || f.Flags&prioritary == 0 {
		return Fault{}
	}
	if len(f.Payload) < 5 {
		return Fault{Code: FrameSizeError}
	}
	fault := f.independent()
	fault.Stream = 0 // as the fields are not read, what follows could not be
	f.Payload = f.Payload[5:]
	return fault
}

// independent reports a stream that depends on itself.
func (f *Frame) independent() Fault {
	if f.Number() == f.Stream {
		return Fault{ProtocolError, f.Stream}
	}
	return Fault{}
}

// Limits are what the other side's SETTINGS ask for.
type Limits struct {
	Window int64 // of a new stream, in bytes
	Frame  int   // size of a payload
	Shrunk bool  // it has room for less of HPACK's table than it had at first
}

// DefaultLimits hold until SETTINGS have come.
func DefaultLimits() Limits { return Limits{Window: 65535, Frame: FrameSize} }

// Read reads the payload of a SETTINGS frame.
func (l *Limits) Read(b []byte) Code {
	for ; len(b) >= 6; b = b[6:] {
		v := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case 1:
			l.Shrunk = l.Shrunk || v < 4096
		case 2:
			if v > 1 {
				return ProtocolError
			}
		case 4:
			if v > 1<<31-1 {
				return FlowControlError
			}
			l.Window = int64(v)
		case 5:
			if v < FrameSize || v > 1<<24-1 {
				return ProtocolError
			}
			l.Frame = int(v)
		}
	}
	return NoError
}
