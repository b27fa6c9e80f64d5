package l7

import (
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"

	"fairlead.dev/fairlead/network/l7/route"
)

// TestGarbage: whatever frames clients send in whatever order, nothing of them is left when they have gone, and others are served.
func TestGarbage(t *testing.T) {
	lanes, _, with := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.CopyN(w, q.Body, 1000)
		_, _ = w.Write(make([]byte, rand.IntN(200_000)))
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			seed := rand.New(rand.NewPCG(uint64(i), 9))
			for range 40 {
				c := dialFramed(t, lanes)
				go func() { _, _ = io.Copy(io.Discard, c.conn) }()
				for id := uint32(1); id < 400 && sendAny(c, seed, &id) == nil; {
				}
				_ = c.conn.Close()
			}
		})
	}
	all.Wait()
	for n := 0; ; n++ {
		left := under(t, with)
		for _, l := range with.lanes {
			left += int(l.size.Load())
		}
		if left == 0 {
			break
		}
		if time.Sleep(time.Millisecond); n > 20_000 {
			t.Fatalf("%d requests and connections are left", left)
		}
	}
	c := dialFramed(t, lanes, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	_ = c.WriteWindowUpdate(0, 1<<20)
	c.request(1, getA, true)
	if got := c.outcome(1); got[:3] != "200" {
		t.Errorf("another client: %s", got)
	}
}

// under is how many requests are under way.
func under(t *testing.T, r *rig) int {
	t.Helper()
	all := prometheus.NewRegistry()
	all.MustRegister(r.metrics.inFlight)
	got, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return int(got[0].GetMetric()[0].GetGauge().GetValue())
}

// sendAny sends a frame that is as it should be, most times.
func sendAny(c *framed, r *rand.Rand, id *uint32) error {
	at := *id - 2*uint32(r.IntN(4))
	head := getA
	switch r.IntN(8) {
	case 0:
		head = postA + "content-length: 5000\n"
	case 1:
		head = postA
	case 2:
		head += "te: trailers\n"
	case 3:
		head = postA + "expect: 100-continue\n"
	}
	switch r.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		*id += 2
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: *id, BlockFragment: c.fields(head), EndStream: r.IntN(2) == 0, EndHeaders: true})
	case 6, 7, 8, 9:
		return c.WriteData(at, r.IntN(3) == 0, make([]byte, r.IntN(5000)))
	case 10, 11:
		return c.WriteRSTStream(at, http2.ErrCodeCancel)
	case 12, 13:
		return c.WriteWindowUpdate(at, uint32(1+r.IntN(100_000)))
	case 14, 15:
		return c.WriteWindowUpdate(0, uint32(1+r.IntN(100_000)))
	case 16:
		return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(r.IntN(100_000))}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(r.IntN(4096))})
	case 17:
		return c.WritePing(r.IntN(2) == 0, [8]byte{})
	case 18:
		*id += 2
		block := c.fields(head)
		n := r.IntN(len(block))
		_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: *id, BlockFragment: block[:n]})
		return c.WriteContinuation(*id, true, block[n:])
	case 19:
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: at, BlockFragment: c.fields("x: y\n"), EndStream: true, EndHeaders: true})
	case 20:
		*id += 2
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: *id, BlockFragment: c.fields(head + "upgrade: x\n"), EndStream: true, EndHeaders: true})
	case 21:
		time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
	case 22:
		if r.IntN(20) == 0 {
			return c.WriteRawFrame(http2.FrameType(r.IntN(12)), http2.Flags(r.IntN(256)), at, make([]byte, r.IntN(20)))
		}
	case 23:
		if r.IntN(60) == 0 {
			return c.WriteGoAway(0, http2.ErrCodeNo, nil)
		}
	}
	return nil
}
