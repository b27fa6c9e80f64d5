package http2

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames are some, whole and otherwise.
func frames() [][]byte {
	var all [][]byte
	note := func(write func(*http2.Framer) error) {
		var b bytes.Buffer
		f := http2.NewFramer(&b, nil)
		f.AllowIllegalWrites = true
		_ = write(f)
		all = append(all, b.Bytes())
	}
	note(func(f *http2.Framer) error { return f.WriteData(1, true, []byte("hello")) })
	note(func(f *http2.Framer) error { return f.WriteDataPadded(3, false, []byte("hello"), []byte{0, 0, 0}) })
	note(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: []byte("\x82\x84"), EndHeaders: true, PadLength: 4, Priority: http2.PriorityParam{StreamDep: 1}})
	})
	note(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, Priority: http2.PriorityParam{StreamDep: 5, Weight: 1}})
	})
	note(func(f *http2.Framer) error { return f.WritePriority(7, http2.PriorityParam{StreamDep: 7}) })
	note(func(f *http2.Framer) error { return f.WriteRSTStream(7, http2.ErrCodeCancel) })
	note(func(f *http2.Framer) error {
		return f.WriteSettings(http2.Setting{ID: 4, Val: 1 << 20}, http2.Setting{ID: 1, Val: 0})
	})
	note(func(f *http2.Framer) error { return f.WriteSettingsAck() })
	note(func(f *http2.Framer) error {
		return f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2})
	})
	note(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{1}) })
	note(func(f *http2.Framer) error { return f.WriteGoAway(9, 1, []byte("x")) })
	note(func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 5) })
	note(func(f *http2.Framer) error { return f.WriteWindowUpdate(3, 0) })
	note(func(f *http2.Framer) error { return f.WriteContinuation(3, true, []byte("\x82")) })
	note(func(f *http2.Framer) error { return f.WriteRawFrame(99, 7, 1, []byte("x")) })
	for _, b := range []string{
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x01\x00\x08\x00\x00\x00\x01\x05", "\x00\x00\x00\x00\x08\x00\x00\x00\x01", "\x00\x40\x01\x00\x00\x00\x00\x00\x01",
		"\x00\x00\x05\x04\x00\x00\x00\x00\x00abcde", "\x00\x00\x06\x04\x01\x00\x00\x00\x00abcdef", "\x00\x00\x07\x06\x00\x00\x00\x00\x00abcdefg", "\x00\x00\x03\x03\x00\x00\x00\x00\x01abc",
		"\x00\x00\x04\x02\x00\x00\x00\x00\x01abcd", "\x00\x00\x00\x01\x24\x00\x00\x00\x01", "\x00\x00\x04\x01\x24\x00\x00\x00\x01abcd", "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x80\x00\x00\x00",
	} {
		all = append(all, []byte(b))
	}
	return all
}

// FuzzFrame: a frame is read as golang.org/x/net reads it, and what that finds fault with is found here, too.
func FuzzFrame(f *testing.F) {
	for _, b := range frames() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Frame
		n, fault := got.Read(b)
		framer := http2.NewFramer(nil, bytes.NewReader(b))
		framer.SetMaxReadFrameSize(FrameSize)
		framer.AllowIllegalReads = got.Type == Continuation || got.Type == PushPromise // for want of a head before
		want, err := framer.ReadFrame()
		if n == 0 && fault == (Fault{}) {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%q: waits for more, and x/net says %v", b, err)
			}
			return
		}
		if err != nil {
			found := fault != (Fault{}) || got.Type == Settings && new(Limits).Read(got.Payload) != NoError
			if !found && int(got.Type) < len(shapes) { // of extensions x/net knows some
				t.Fatalf("%q: x/net says %v", b, err)
			}
			return
		}
		head := want.Header()
		if head.StreamID != got.Stream || Type(head.Type) != got.Type || uint8(head.Flags) != got.Flags || int(head.Length) != got.Length || n != FrameHead+got.Length {
			t.Fatalf("%q: %+v of %d bytes, x/net reads %v", b, got, n, head)
		}
		if fault != (Fault{}) {
			if _, ok := want.(*http2.PushPromiseFrame); !ok && !depends(want) && !acknowledges(want) {
				t.Fatalf("%q: fault %+v, x/net reads %v", b, fault, want)
			}
			return
		}
		same := true
		switch w := want.(type) {
		case *http2.DataFrame:
			same = bytes.Equal(w.Data(), got.Payload) && w.StreamEnded() == got.Ends()
		case *http2.HeadersFrame:
			same = bytes.Equal(w.HeaderBlockFragment(), got.Payload) && w.StreamEnded() == got.Ends() && w.HeadersEnded() == (got.Flags&EndHeaders != 0)
		case *http2.ContinuationFrame:
			same = bytes.Equal(w.HeaderBlockFragment(), got.Payload) && w.HeadersEnded() == (got.Flags&EndHeaders != 0)
		case *http2.RSTStreamFrame:
			same = uint32(w.ErrCode) == got.Number()
		case *http2.WindowUpdateFrame:
			same = w.Increment == got.Number()
		case *http2.PingFrame:
			same = bytes.Equal(w.Data[:], got.Payload) && w.IsAck() == (got.Flags&Ack != 0)
		case *http2.SettingsFrame:
			same = sameLimits(w, got.Payload)
		}
		if !same {
			t.Fatalf("%q: %+v, x/net reads %v", b, got, want)
		}
	})
}

// depends reports a stream that depends on itself, which x/net's Framer leaves to the server.
func depends(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.PriorityFrame:
		return f.StreamDep == f.StreamID
	case *http2.HeadersFrame:
		return f.Priority.StreamDep == f.StreamID
	}
	return false
}

func acknowledges(f http2.Frame) bool {
	s, is := f.(*http2.SettingsFrame)
	return is && s.IsAck()
}

func sameLimits(w *http2.SettingsFrame, payload []byte) bool {
	l := DefaultLimits()
	code := l.Read(payload)
	want, bad := DefaultLimits(), false
	_ = w.ForeachSetting(func(s http2.Setting) error {
		bad = bad || s.ID <= http2.SettingMaxFrameSize && s.Valid() != nil
		switch s.ID {
		case http2.SettingInitialWindowSize:
			want.Window = int64(s.Val)
		case http2.SettingMaxFrameSize:
			want.Frame = int(s.Val)
		case http2.SettingHeaderTableSize:
			want.Shrunk = want.Shrunk || s.Val < 4096
		}
		return nil
	})
	if bad || code != NoError {
		return bad == (code != NoError)
	}
	return l == want
}

// FuzzFields: what is written of an answer, HPACK of golang.org/x/net reads as it was meant.
func FuzzFields(f *testing.F) {
	f.Add(200, "Content-Type", "text/plain", 10)
	f.Add(999, "X-Long", string(bytes.Repeat([]byte("x"), 300)), 16384)
	f.Add(404, "set-cookie", "", 1)
	f.Fuzz(func(t *testing.T, status int, name, value string, most int) {
		if status < 100 || status > 999 || most < 1 || len(name) > 1000 {
			return
		}
		block := AppendField(AppendField(AppendStatus(AppendNoTable(nil), status), name, value), "x", []byte(value))
		framer := http2.NewFramer(nil, bytes.NewReader(AppendHeaders(nil, 3, true, block, min(most, FrameSize))))
		var got []byte
		for ended := false; !ended; {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				got, ended = append(got, frame.HeaderBlockFragment()...), frame.HeadersEnded()
				if !frame.StreamEnded() || frame.StreamID != 3 {
					t.Fatalf("%v", frame)
				}
			case *http2.ContinuationFrame:
				got, ended = append(got, frame.HeaderBlockFragment()...), frame.HeadersEnded()
			}
		}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(got)
		if err != nil || len(fields) != 3 {
			t.Fatalf("%v %v", fields, err)
		}
		lower := string(appendLower(nil, name))
		want := []hpack.HeaderField{{Name: ":status", Value: string([]byte{'0' + byte(status/100), '0' + byte(status/10%10), '0' + byte(status%10)})}, {Name: lower, Value: value}, {Name: "x", Value: value}}
		for i := range want {
			if fields[i] != want[i] {
				t.Fatalf("%v, want %v", fields, want)
			}
		}
	})
}

// TestStaticTable: the indexes are HPACK's.
func TestStaticTable(t *testing.T) {
	for name, i := range names {
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(appendLength(appendLength(nil, int(i), 0xf), 0, 0x7f))
		if err != nil || fields[0].Name != name {
			t.Errorf("%s: %v %v", name, fields, err)
		}
	}
}

// TestWriting: frames of the connection are what golang.org/x/net reads.
func TestWriting(t *testing.T) {
	b := AppendSettings(nil, 100, 1000, 2000)
	b = AppendNumber(b, WindowUpdate, 0, 77)
	b = AppendNumber(b, Reset, 5, uint32(Cancel))
	b = AppendGoAway(b, 9, EnhanceYourCalm)
	f := http2.NewFramer(nil, bytes.NewReader(b))
	var got []string
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			break
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			streams, _ := frame.Value(http2.SettingMaxConcurrentStreams)
			window, _ := frame.Value(http2.SettingInitialWindowSize)
			head, _ := frame.Value(http2.SettingMaxHeaderListSize)
			if streams == 100 && window == 1000 && head == 2000 {
				got = append(got, "settings")
			}
		case *http2.WindowUpdateFrame:
			if frame.Increment == 77 {
				got = append(got, "window")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == 5 && frame.ErrCode == http2.ErrCodeCancel {
				got = append(got, "reset")
			}
		case *http2.GoAwayFrame:
			if frame.LastStreamID == 9 && frame.ErrCode == http2.ErrCodeEnhanceYourCalm {
				got = append(got, "away")
			}
		}
	}
	if len(got) != 4 {
		t.Errorf("only %v", got)
	}
}
