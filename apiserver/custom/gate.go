package custom

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// gate lets one at a time do what takes many times a definition's size for a moment: so the needs of many do not add up.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// pass waits for its turn, or for the end of ctx.
func (g gate) pass(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// serve lets a request through alone. A client that is slow to send or to read holds up nobody: its request is read before its turn,
// and its answer is sent after it. limit is how large a request may be; 0: any size.
func (g gate) serve(w http.ResponseWriter, r *http.Request, limit int64, h http.Handler) {
	body := received(r.Body, limit)
	if g.pass(r.Context()) != nil {
		http.Error(w, "the server is busy with other definitions", http.StatusServiceUnavailable)
		return
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(body)
	a := &answer{header: w.Header()}
	func() {
		defer g.leave()
		h.ServeHTTP(a, r)
	}()
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(a.body.Bytes()) // fails only when the client has gone
}

// received is what a client sends, up to one byte more than it may, by which the handler sees that it is too much. When the client
// breaks off, the handler reads the same error.
func received(body io.Reader, limit int64) io.Reader {
	if limit > 0 {
		body = io.LimitReader(body, limit+1)
	}
	var all bytes.Buffer
	if _, err := all.ReadFrom(body); err != nil {
		return io.MultiReader(&all, broken{err})
	}
	return &all
}

// broken is a reader that has failed.
type broken struct{ err error }

// Read is part of io.Reader.
func (b broken) Read([]byte) (int, error) { return 0, b.err }

// answer keeps what a handler writes until it may be sent.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is part of http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is part of http.ResponseWriter. Only the first status counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write is part of http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
