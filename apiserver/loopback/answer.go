package loopback

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// fullAt is how many bytes may wait for their reader before the handler has to: about what HTTP/2 grants a stream.
const fullAt = 256 << 10

// answer carries a response from the handler, who sees a http.ResponseWriter, to the client, who reads and closes it as the
// response's body.
type answer struct {
	ctx    context.Context // the handler's
	cancel func()
	begun  chan struct{} // closed when the client may see the status

	mu     sync.Mutex
	turn   sync.Cond   // broadcast when what the other side waits for may have come true
	header http.Header // the handler's
	sent   http.Header // what the client sees; set with status
	status int
	data   []byte // written, not yet read; the first `read` bytes are
	read   int
	shown  bool  // begun is closed
	ended  bool  // the handler is done
	closed bool  // the client is done
	err    error // why the handler ended before its time
}

var (
	_ http.Flusher       = &answer{}
	_ http.CloseNotifier = &answer{} //lint:ignore SA1019 k8s.io/apiserver tells HTTP/2 by it
	_ io.ReadCloser      = &answer{}
)

func newAnswer(ctx context.Context, cancel func()) *answer {
	a := &answer{ctx: ctx, cancel: cancel, begun: make(chan struct{}), header: http.Header{}}
	a.turn.L = &a.mu
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.turn.Broadcast()
	})
	return a
}

// Header is part of http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is part of http.ResponseWriter. Only the first final status counts.
func (a *answer) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(status)
}

func (a *answer) writeHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write is part of http.ResponseWriter. It waits while the client is too far behind.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(http.StatusOK)
	for len(a.data)-a.read >= fullAt && !a.closed && a.ctx.Err() == nil {
		a.show()
		a.turn.Wait()
	}
	if a.closed || a.ctx.Err() != nil {
		return 0, io.ErrClosedPipe
	}
	if a.read > 0 && len(a.data)+len(p) > cap(a.data) { // make room before growing
		a.data = a.data[:copy(a.data, a.data[a.read:])]
		a.read = 0
	}
	a.data = append(a.data, p...)
	return len(p), nil
}

// Flush is part of http.Flusher: the client may read what was written.
func (a *answer) Flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(http.StatusOK)
	a.show()
}

// CloseNotify is part of http.CloseNotifier.
func (a *answer) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(a.ctx, func() { gone <- true })
	return gone
}

// show lets the client go on.
func (a *answer) show() {
	if !a.shown {
		a.shown = true
		close(a.begun)
	}
	a.turn.Broadcast()
}

// end says that the handler is done, with err if something went wrong. What it wrote after it was told to end may be
// incomplete, and must not look like the whole.
func (a *answer) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writeHeader(http.StatusOK)
	if err == nil {
		err = a.ctx.Err()
	}
	a.ended, a.err = true, err
	a.show()
}

// head is what the client sees before the body.
func (a *answer) head() (int, http.Header, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status, a.sent, a.err
}

// Read is part of io.Reader, for the client.
func (a *answer) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.read == len(a.data) {
		switch {
		case a.closed:
			return 0, http.ErrBodyReadAfterClose
		case a.err != nil:
			return 0, a.err
		case a.ended:
			return 0, io.EOF
		case a.ctx.Err() != nil:
			return 0, a.ctx.Err()
		}
		a.turn.Wait()
	}
	n := copy(p, a.data[a.read:])
	if a.read += n; a.read == len(a.data) {
		a.data, a.read = a.data[:0], 0
		if cap(a.data) > fullAt {
			a.data = nil
		}
	}
	a.turn.Broadcast()
	return n, nil
}

// Close is part of io.Closer, for the client: the handler's context ends.
func (a *answer) Close() error {
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed, a.data, a.read = true, nil, 0
	a.turn.Broadcast()
	return nil
}
