package l7

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// TestManyStreams: there are as many at once as was said, and no more.
func TestManyStreams(t *testing.T) {
	release := make(chan bool)
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		<-release
		fmt.Fprint(w, "hello")
	})
	for _, te := range []string{"", "te: trailers\n"} {
		c := dialFramed(t, lanes)
		for i := range uint32(mostStreams + 1) {
			c.request(2*i+1, getA+te, true)
		}
		if got := c.outcome(2*mostStreams + 1); got != "reset REFUSED_STREAM" {
			t.Errorf("%q: one too many: %s", te, got)
		}
		for range mostStreams {
			release <- true
		}
		for answered := 0; answered < mostStreams; {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream) {
				answered++
			}
		}
	}
}

// TestRapidReset: who opens streams only to give them up is served for a while, others go on.
func TestRapidReset(t *testing.T) {
	var under atomic.Int32
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/slow" {
			under.Add(1)
			defer under.Add(-1)
			<-q.Context().Done()
		}
		fmt.Fprint(w, "hello")
	})
	for _, te := range []string{"", "te: trailers\n"} {
		c := dialFramed(t, lanes)
		go func() {
			for id := uint32(1); id < 1_000_000; id += 2 {
				c.request(id, strings.Replace(getA, ":path: /", ":path: /slow", 1)+te, true)
				if c.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}()
		if got := c.outcome(0); got != "away ENHANCE_YOUR_CALM" {
			t.Errorf("%q: %s", te, got)
		}
		other := dialFramed(t, lanes)
		other.request(1, getA+te, true)
		if got := other.outcome(1); got != "200 5" {
			t.Errorf("%q: another client: %s", te, got)
		}
	}
	for n := 0; under.Load() > 0; n++ {
		if time.Sleep(time.Millisecond); n > 10_000 {
			t.Fatalf("%d requests are still under way", under.Load())
		}
	}
}

// TestWaste: streams that were reset are forgotten with time, and one with each answer.
func TestWaste(t *testing.T) {
	l := &lane{now: time.Now()}
	m := &mux{session: &session{lane: l}}
	waste := func(n int) bool {
		for range n {
			m.wasted()
		}
		return m.halting == onward
	}
	if !waste(mostResets) {
		t.Fatal("ends too early")
	}
	l.now = l.now.Add(time.Second)
	if !waste(forgiven) {
		t.Fatal("forgets nothing")
	}
	l.now = l.now.Add(time.Hour)
	if !waste(mostResets) || waste(1) {
		t.Error("forgets more than there was, or too little")
	}
}

// TestFrameFloods: frames that want an answer, from a client that reads none, take no memory; one that reads is answered.
func TestFrameFloods(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, echo)
	for name, flood := range map[string]func(c *framed) error{
		"PING":     func(c *framed) error { return c.WritePing(false, [8]byte{1}) },
		"SETTINGS": func(c *framed) error { return c.WriteSettings() },
	} {
		c := dialFramed(t, lanes)
		before := heapNow()
		_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		n := 0
		for ; n < 3_000_000 && flood(c) == nil; n++ {
		}
		if more := int64(heapNow()) - int64(before); more > 16<<20 {
			t.Errorf("%d frames %s take %d bytes", n, name, more)
		}
		_ = c.conn.Close()
	}
	c := dialFramed(t, lanes)
	c.request(1, postA, false)
	for range 20_000 {
		_ = c.WriteData(1, false, nil)
	}
	_ = c.WriteData(1, true, nil)
	if got := c.outcome(1); !strings.HasPrefix(got, "200") {
		t.Errorf("after empty frames: %s", got)
	}
}

// TestDrain: at the end of the engine every request is answered that the client was not told to send elsewhere.
func TestDrain(t *testing.T) {
	for _, te := range []string{"", "te: trailers\n"} {
		r := newRig(t)
		r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
			time.Sleep(time.Millisecond)
			fmt.Fprint(w, "hello")
		})})
		r.Serve(table(toService(route.Action{})))
		c := dialFramed(t, r.listen(web))
		rest := dialFramed(t, r.listen(web))
		var mu sync.Mutex // of c's writes
		stop, enough := make(chan bool), make(chan bool)
		go func() {
			for id := uint32(1); ; id += 2 {
				mu.Lock()
				c.request(id, postA+"content-length: 2\n"+te, false)
				_ = c.WriteData(id, true, []byte("ab"))
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Microsecond):
				}
			}
		}()
		go func() {
			<-enough
			if err := r.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		var answered []uint32
		last, away := uint32(0), 0
		for {
			f, err := c.ReadFrame()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%q: %v", te, err)
				}
				break
			}
			switch f := f.(type) {
			case *http2.DataFrame:
				if f.StreamEnded() {
					if answered = append(answered, f.StreamID); len(answered) == 20 {
						close(enough)
					}
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					mu.Lock()
					_ = c.WritePing(true, f.Data)
					mu.Unlock()
				}
			case *http2.GoAwayFrame:
				if away++; f.ErrCode != http2.ErrCodeNo {
					t.Errorf("%q: %v", te, f)
				}
				last = f.LastStreamID
			case *http2.RSTStreamFrame:
				t.Errorf("%q: %v", te, f)
			}
		}
		close(stop)
		slices.Sort(answered)
		if away < 2 || len(answered) < 20 || answered[len(answered)-1] != last || len(answered) != int(last+1)/2 {
			t.Errorf("%q: after %d GOAWAYs up to stream %d, %d were answered", te, away, last, len(answered))
		}
		if got := rest.outcome(0); got != "closed" {
			t.Errorf("a connection at rest: %s", got)
		}
	}
}

// TestStreamsTakeNoMemory: a request of HTTP/2, and its answer, is served without memory being allocated.
func TestStreamsTakeNoMemory(t *testing.T) {
	r := newRig(t)
	r.access = nil
	r.Endpoints(svc, 80, []lb.Backend{constant(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")})
	r.Serve(table(toService(route.Action{})))
	c := dialFramed(t, r.listen(web))
	_ = c.WriteWindowUpdate(0, 1<<30)
	c.request(1, getA, true)
	if got := c.outcome(1); got != "200 5" {
		t.Fatal(got)
	}
	c.SetReuseFrames()
	block := c.fields(getA) // by the table that both have now
	const many = 3000
	var before, after runtime.MemStats
	for id := uint32(3); id < 3+2*many; id += 2 {
		if id == 203 { // everything there is has been made
			runtime.ReadMemStats(&before)
		}
		_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true})
		for {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if h := f.Header(); h.Type == http2.FrameData && h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) {
				break
			}
		}
	}
	runtime.ReadMemStats(&after)
	// The client itself takes one: for the HEADERS of an answer.
	if each := float64(after.Mallocs-before.Mallocs) / (many - 100); each > 1.5 {
		t.Errorf("%.1f allocations for each request", each)
	}
}

// constant is a backend that gives the same answer to each read.
func constant(t *testing.T, answer string) lb.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in, out := make([]byte, 4096), []byte(answer)
				for {
					if _, err := conn.Read(in); err != nil {
						return
					}
					_, _ = conn.Write(out)
				}
			}()
		}
	}()
	return lb.Backend{Addr: netip.MustParseAddrPort(l.Addr().String())}
}
