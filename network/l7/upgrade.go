package l7

import (
	"io"
	"net/http"
	"sync"
)

// switchProtocols is after a 101: bytes go both ways until both ends have said that nothing more follows, or one has broken off.
func (x *exchange) switchProtocols(a *attempt) {
	backend, ok := a.response.Body.(io.ReadWriteCloser)
	if !ok {
		x.fail(http.StatusBadGateway, "the endpoint switched to another protocol without being asked")
		return
	}
	a.pulse.stop() // from now on silence is no fault
	h := x.w.Header()
	x.answerHeader(h, a)
	if x.w.edit != nil {
		x.w.edit(h)
	}
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil { // HTTP/2 has no upgrades
		x.fail(http.StatusBadGateway, "the endpoint switched to another protocol without being asked")
		return
	}
	defer func() { _ = client.Close() }() // it has ended
	x.w.status = http.StatusSwitchingProtocols
	head := &http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err := head.Write(client); err != nil {
		return
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // as many are there
	if _, err := backend.Write(early); err != nil {
		return
	}
	if x.track(x.conn, true) {
		defer x.track(x.conn, false)
		x.w.bytes += join(client, backend)
	}
}

// halves are connections that can say that nothing more follows.
type halves interface{ CloseWrite() error }

// join copies between two ends until each has ended, and returns the bytes from b to a. An error of one direction ends both.
func join(a io.ReadWriteCloser, b io.ReadWriteCloser) (bytes int64) {
	var both sync.WaitGroup
	copyHalf := func(to, from io.ReadWriteCloser) int64 {
		n, err := io.Copy(to, from)
		half, can := to.(halves)
		if err == nil && can && half.CloseWrite() == nil {
			return n
		}
		_, _ = a.Close(), b.Close() // the other direction ends as well
		return n
	}
	both.Go(func() { copyHalf(b, a) })
	bytes = copyHalf(a, b)
	both.Wait()
	return bytes
}
