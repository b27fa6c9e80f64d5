package l7

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// framed is a client of HTTP/2 that sends what it is told, frame by frame.
type framed struct {
	*http2.Framer
	t     *testing.T
	conn  net.Conn
	block bytes.Buffer
	hpack *hpack.Encoder
	read  *hpack.Decoder
}

func dialFramed(t *testing.T, addr string, settings ...http2.Setting) *framed {
	t.Helper()
	c := newFramed(t, addr)
	_, _ = io.WriteString(c.conn, http2.ClientPreface)
	_ = c.WriteSettings(settings...)
	return c
}

// newFramed is a client that has said nothing yet.
func newFramed(t *testing.T, addr string) *framed {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &framed{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, read: hpack.NewDecoder(4096, nil)}
	c.AllowIllegalWrites = true
	c.hpack = hpack.NewEncoder(&c.block)
	return c
}

// fields are a block of lines "name: value".
func (c *framed) fields(text string) []byte {
	c.block.Reset()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		at := strings.Index(line[1:], ":") + 1
		_ = c.hpack.WriteField(hpack.HeaderField{Name: line[:at], Value: strings.TrimPrefix(line[at+1:], " ")})
	}
	return bytes.Clone(c.block.Bytes())
}

const getA = ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"

var postA = strings.Replace(getA, "GET", "POST", 1)

func (c *framed) request(id uint32, text string, ends bool) {
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields(text), EndStream: ends, EndHeaders: true})
}

// outcome is what becomes of a stream, or of the connection before: a status with the body, a reset or the end.
func (c *framed) outcome(id uint32) string {
	status, body := "", 0
	for {
		f, err := c.ReadFrame()
		switch f := f.(type) {
		case nil:
			if errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset by peer") {
				return "closed"
			}
			return err.Error()
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "away " + f.ErrCode.String()
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset " + f.ErrCode.String()
			}
		case *http2.HeadersFrame:
			fields, err := c.read.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return err.Error()
			}
			if f.StreamID == id && fields[0].Name == ":status" {
				status += fields[0].Value
			}
			if f.StreamID == id && f.StreamEnded() {
				return fmt.Sprintf("%s %d", status, body)
			}
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			if body += len(f.Data()); f.StreamEnded() {
				return fmt.Sprintf("%s %d", status, body)
			}
		}
	}
}

// TestRFC9113: what is no request, and what is no frame, is answered as the standard says, each by its section. Whom it does not concern
// is served.
func TestRFC9113(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		if q.URL.Path == "/wait" {
			<-q.Context().Done()
		}
		fmt.Fprint(w, "hello")
	})})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	wait := strings.Replace(getA, ":path: /", ":path: /wait", 1) // without an answer
	window := func(v uint32) http2.Setting { return http2.Setting{ID: http2.SettingInitialWindowSize, Val: v} }
	for _, c := range []struct {
		rule string
		do   func(c *framed)
		want string // of stream 1
	}{
		{"a request", func(c *framed) { c.request(1, getA, true) }, "200 5"},
		{"3.4 another preface", func(c *framed) { _ = c.WriteRawFrame(0, 0, 0, nil); c.request(1, getA, true) }, "away PROTOCOL_ERROR"}, // DATA of the connection
		{"4.1 unknown frames", func(c *framed) { _ = c.WriteRawFrame(77, 0xff, 9, []byte("x")); c.request(1, getA, true) }, "200 5"},
		{"4.2 a frame that is too large", func(c *framed) { c.request(1, postA, false); _ = c.WriteData(1, true, make([]byte, 16385)) }, "away FRAME_SIZE_ERROR"},
		{"4.3 no HPACK", func(c *framed) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0x7f}, EndStream: true, EndHeaders: true})
		}, "away COMPRESSION_ERROR"},
		{"4.3 a head in parts", func(c *framed) {
			block := c.fields(getA)
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3], EndStream: true})
			_ = c.WriteContinuation(1, false, block[3:5])
			_ = c.WriteContinuation(1, true, block[5:])
		}, "200 5"},
		{"6.2 another frame within a head", func(c *framed) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getA), EndStream: true})
			_ = c.WritePing(false, [8]byte{})
		}, "away PROTOCOL_ERROR"},
		{"6.10 a part of another head", func(c *framed) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getA), EndStream: true})
			_ = c.WriteContinuation(3, true, nil)
		}, "away PROTOCOL_ERROR"},
		{"6.10 a part of no head", func(c *framed) { _ = c.WriteContinuation(1, true, c.fields(getA)) }, "away PROTOCOL_ERROR"},
		{"10.5.1 a head without end", func(c *framed) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getA), EndStream: true})
			for range 10_000 {
				if c.WriteContinuation(1, false, nil) != nil {
					return
				}
			}
		}, "away ENHANCE_YOUR_CALM"},
		{"10.5.1 a head that grows without end", func(c *framed) {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getA), EndStream: true})
			for range 50 {
				if c.WriteContinuation(1, false, append([]byte{0, 1, 'x', 0x7f, 0x80, 0x7e}, make([]byte, 16000)...)) != nil {
					return
				}
			}
		}, "away ENHANCE_YOUR_CALM"},
		{"10.5.1 a head of few bytes that stand for many", func(c *framed) {
			block := append(c.fields(getA), 0x40, 1, 'x', 0x7f, 0xa1, 0x1e)
			block = append(block, bytes.Repeat([]byte("v"), 4000)...)
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(block, bytes.Repeat([]byte{0xbe}, 12_000)...), EndStream: true, EndHeaders: true})
		}, "431 0"},
		{"5.1 DATA of no stream", func(c *framed) { _ = c.WriteData(1, true, nil) }, "away PROTOCOL_ERROR"},
		{"5.1 RST_STREAM of no stream", func(c *framed) { _ = c.WriteRSTStream(1, http2.ErrCodeCancel) }, "away PROTOCOL_ERROR"},
		{"5.1 WINDOW_UPDATE of no stream", func(c *framed) { _ = c.WriteWindowUpdate(1, 5) }, "away PROTOCOL_ERROR"},
		{"5.1 PRIORITY of no stream", func(c *framed) { _ = c.WritePriority(9, http2.PriorityParam{}); c.request(1, getA, true) }, "200 5"},
		{"5.1 DATA after the end", func(c *framed) { c.request(1, wait, true); _ = c.WriteData(1, true, []byte("x")) }, "reset STREAM_CLOSED"},
		{"5.1 HEADERS after the end", func(c *framed) { c.request(1, wait, true); c.request(1, "x: y\n", true) }, "reset STREAM_CLOSED"},
		{"5.1 HEADERS after RST_STREAM", func(c *framed) {
			c.request(1, getA, false)
			_ = c.WriteRSTStream(1, http2.ErrCodeCancel)
			c.request(1, getA, true)
		}, "away STREAM_CLOSED"},
		{"5.1.1 an even stream", func(c *framed) { c.request(2, getA, true) }, "away PROTOCOL_ERROR"},
		{"5.1.1 streams in another order", func(c *framed) { c.request(5, getA, true); c.request(3, getA, true) }, "away PROTOCOL_ERROR"},
		{"5.3.1 a stream that depends on itself", func(c *framed) { c.request(1, postA, false); _ = c.WritePriority(1, http2.PriorityParam{StreamDep: 1}) }, "reset PROTOCOL_ERROR"},
		{"6.1 DATA of the connection", func(c *framed) { _ = c.WriteData(0, false, nil) }, "away PROTOCOL_ERROR"},
		{"6.1 more padding than there is", func(c *framed) {
			c.request(1, postA, false)
			_ = c.WriteRawFrame(http2.FrameData, 8, 1, []byte{9, 0})
		}, "away PROTOCOL_ERROR"},
		{"6.1 padding", func(c *framed) {
			c.request(1, postA+"content-length: 2\n", false)
			_ = c.WriteDataPadded(1, true, []byte("ab"), make([]byte, 100))
		}, "200 5"},
		{"6.3 PRIORITY of another size", func(c *framed) {
			c.request(1, postA, false)
			_ = c.WriteRawFrame(http2.FramePriority, 0, 1, []byte("abc"))
		}, "reset FRAME_SIZE_ERROR"},
		{"6.4 RST_STREAM of another size", func(c *framed) {
			c.request(1, postA, false)
			_ = c.WriteRawFrame(http2.FrameRSTStream, 0, 1, []byte("abc"))
		}, "away FRAME_SIZE_ERROR"},
		{"6.5 SETTINGS of a stream", func(c *framed) { _ = c.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }, "away PROTOCOL_ERROR"},
		{"6.5 SETTINGS of another size", func(c *framed) { _ = c.WriteRawFrame(http2.FrameSettings, 0, 0, []byte("abc")) }, "away FRAME_SIZE_ERROR"},
		{"6.5 an acknowledgement with settings", func(c *framed) { _ = c.WriteRawFrame(http2.FrameSettings, 1, 0, make([]byte, 6)) }, "away FRAME_SIZE_ERROR"},
		{"6.5.2 ENABLE_PUSH", func(c *framed) { _ = c.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, "away PROTOCOL_ERROR"},
		{"6.5.2 INITIAL_WINDOW_SIZE", func(c *framed) { _ = c.WriteSettings(window(1 << 31)) }, "away FLOW_CONTROL_ERROR"},
		{"6.5.2 MAX_FRAME_SIZE", func(c *framed) { _ = c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383}) }, "away PROTOCOL_ERROR"},
		{"6.5.2 an unknown setting", func(c *framed) { _ = c.WriteSettings(http2.Setting{ID: 99, Val: 1}); c.request(1, getA, true) }, "200 5"},
		{"6.6 PUSH_PROMISE", func(c *framed) { _ = c.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 3}) }, "away PROTOCOL_ERROR"},
		{"6.7 PING of a stream", func(c *framed) { _ = c.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }, "away PROTOCOL_ERROR"},
		{"6.7 PING of another size", func(c *framed) { _ = c.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 6)) }, "away FRAME_SIZE_ERROR"},
		{"6.8 GOAWAY of a stream", func(c *framed) { _ = c.WriteRawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)) }, "away PROTOCOL_ERROR"},
		{"6.8 GOAWAY of the client", func(c *framed) { c.request(1, getA, true); _ = c.WriteGoAway(0, http2.ErrCodeNo, nil) }, "200 5"},
		{"6.9 an increment of 0", func(c *framed) { _ = c.WriteWindowUpdate(0, 0) }, "away PROTOCOL_ERROR"},
		{"6.9 an increment of 0 for a stream", func(c *framed) { c.request(1, postA, false); _ = c.WriteWindowUpdate(1, 0) }, "reset PROTOCOL_ERROR"},
		{"6.9.1 a window that is too large", func(c *framed) { _ = c.WriteWindowUpdate(0, 1<<31-1) }, "away FLOW_CONTROL_ERROR"},
		{"6.9.1 a window of a stream that is too large", func(c *framed) { c.request(1, postA, false); _ = c.WriteWindowUpdate(1, 1<<31-1) }, "reset FLOW_CONTROL_ERROR"},
		{"6.9.2 windows that become too large", func(c *framed) {
			c.request(1, postA, false)
			_ = c.WriteWindowUpdate(1, 1<<30)
			_ = c.WriteSettings(window(1<<30 + 1))
		}, "away FLOW_CONTROL_ERROR"},
		{"6.9.3 a window below zero", func(c *framed) {
			_ = c.WriteSettings(window(2))
			c.request(1, getA, true)
			time.Sleep(20 * time.Millisecond)
			_ = c.WriteSettings(window(0))
			_ = c.WriteWindowUpdate(1, 1)
			_ = c.WriteSettings(window(1))
			_ = c.WriteWindowUpdate(1, 3)
		}, "200 5"},
		{"8.1 no end after trailers", func(c *framed) { c.request(1, postA, false); c.request(1, "x: y\n", false) }, "reset PROTOCOL_ERROR"},
		{"8.1 trailers", func(c *framed) {
			c.request(1, postA+"content-length: 2\n", false)
			_ = c.WriteData(1, false, []byte("ab"))
			c.request(1, "x: y\n", true)
		}, "200 5"},
		{"8.1 trailers of a body without a length", func(c *framed) { c.request(1, postA, false); c.request(1, "x: y\n", true) }, "200 5"},
		{"8.1 trailers with a pseudo-field", func(c *framed) { c.request(1, postA, false); c.request(1, ":path: /\n", true) }, "reset PROTOCOL_ERROR"},
		{"8.1.1 less than Content-Length", func(c *framed) {
			c.request(1, postA+"content-length: 2\n", false)
			_ = c.WriteData(1, true, []byte("a"))
		}, "reset PROTOCOL_ERROR"},
		{"8.1.1 more than Content-Length", func(c *framed) {
			c.request(1, postA+"content-length: 2\n", false)
			_ = c.WriteData(1, true, []byte("abc"))
		}, "reset PROTOCOL_ERROR"},
		{"8.1.1 less than Content-Length before trailers", func(c *framed) { c.request(1, postA+"content-length: 2\n", false); c.request(1, "x: y\n", true) }, "reset PROTOCOL_ERROR"},
		{"8.1.1 a malformed request", func(c *framed) { c.request(1, getA+"connection: close\n", true) }, "reset PROTOCOL_ERROR"},
		{"8.2.2 TE: trailers", func(c *framed) { c.request(1, getA+"te: trailers\n", true) }, "200 5"},
		{"9110 10.1.1 Expect", func(c *framed) {
			c.request(1, postA+"expect: 100-continue\n", false)
			time.Sleep(20 * time.Millisecond)
			_ = c.WriteData(1, true, []byte("ab"))
		}, "100200 5"},
		{"8.3.1 no host", func(c *framed) { c.request(1, ":method: GET\n:scheme: http\n:path: /\n", true) }, "200 5"},
		{"8.3.1 an authority with a user", func(c *framed) { c.request(1, ":method: GET\n:scheme: http\n:path: /\n:authority: u@a\n", true) }, "400 40"},
		{"8.5 CONNECT", func(c *framed) { c.request(1, ":method: CONNECT\n:authority: a:443\n", false) }, "405 49"},
	} {
		client := dialFramed(t, addr)
		go c.do(client)
		if got := client.outcome(1); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
		_ = client.conn.Close()
		client = dialFramed(t, addr)
		client.request(1, getA, true)
		if got := client.outcome(1); got != "200 5" {
			t.Fatalf("after %s another client gets %s", c.rule, got)
		}
		_ = client.conn.Close()
	}
}

// TestPreface: a client that sends a byte at a time is served; one that does not begin with SETTINGS is not.
func TestPreface(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	c := newFramed(t, lanes)
	var all bytes.Buffer
	all.WriteString(http2.ClientPreface)
	to := http2.NewFramer(&all, nil)
	_ = to.WriteSettings()
	_ = to.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getA), EndStream: true, EndHeaders: true})
	for _, b := range all.Bytes() {
		_, _ = c.conn.Write([]byte{b})
	}
	if got := c.outcome(1); got != "200 5" {
		t.Errorf("byte by byte: %s", got)
	}
	c = newFramed(t, lanes)
	_, _ = io.WriteString(c.conn, http2.ClientPreface)
	c.request(1, getA, true)
	if got := c.outcome(1); got != "away PROTOCOL_ERROR" {
		t.Errorf("without SETTINGS: %s", got)
	}
	c = newFramed(t, lanes)
	_, _ = io.WriteString(c.conn, strings.Replace(http2.ClientPreface, "SM", "XX", 1))
	if got := c.outcome(1); strings.HasPrefix(got, "2") {
		t.Errorf("another preface: %s", got)
	}
}

// TestEarlyHints: answers before the answer pass where net/http's way is gone, and the access log says which HTTP it was.
func TestEarlyHints(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{scripted(t, func(string) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	})})
	r.Serve(table(toService(route.Action{})))
	c := dialFramed(t, r.listen(web))
	c.request(1, getA, true)
	if got := c.outcome(1); got != "200 5" {
		t.Errorf("in a lane: %s", got)
	}
	c.request(3, getA+"te: trailers\n", true)
	if got := c.outcome(3); got != "103200 5" {
		t.Errorf("by net/http: %s", got)
	}
	for n := 0; strings.Count(r.logged(), `"proto":"HTTP/2.0","status":200,"bytes":5`) < 2; n++ {
		if time.Sleep(time.Millisecond); n > 10_000 {
			t.Fatalf("the access log has %s", r.logged())
		}
	}
}
