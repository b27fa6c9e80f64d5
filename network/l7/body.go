package l7

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// How many bytes of a body are held in memory: where it may have to be sent again, and where it is to be held back or copied.
// What is larger goes on as it comes, and is neither sent again nor copied.
const (
	mostRepeated = 64 << 10
	mostHeld     = 1 << 20
	portion      = 32 << 10 // of what is copied at once
)

// body is that of a request: as it comes, or held: then it can be sent again.
type body struct {
	length int64 // bytes; -1: not known before its end
	comes  io.Reader
	begun  atomic.Bool
	held   []byte // the whole, when comes is nil
}

// takeBody decides how the body is sent, and waits for it where it has to be whole.
func (x *exchange) takeBody(t *target) (*body, *problem) {
	b := &body{length: x.r.ContentLength, comes: x.r.Body}
	if b.length == 0 {
		b.comes = nil
		return b, nil
	}
	copies, retries := len(x.plan.mirrors)+len(t.mirrors) > 0, x.plan.Retry.Tries > 0
	if !x.plan.BufferRequest && !copies && !(retries && b.length > 0 && b.length <= mostRepeated) {
		return b, nil
	}
	begin, whole, err := hold(x.r.Body)
	switch {
	case err != nil:
		return nil, x.unheld(err)
	case whole:
		b.held, b.comes, b.length = begin, nil, int64(len(begin))
	default:
		b.comes = io.MultiReader(bytes.NewReader(begin), x.r.Body)
	}
	return b, nil
}

func (x *exchange) unheld(err error) *problem {
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return &problem{http.StatusRequestEntityTooLarge, "the body of the request is too large"}
	}
	return &problem{http.StatusBadRequest, "the body of the request ended early"}
}

// untouched reports whether it can still be sent from its beginning.
func (b *body) untouched() bool { return b.repeatable() || !b.begun.Load() }

func (b *body) repeatable() bool { return b.comes == nil }

// reader is the body for one attempt.
func (b *body) reader(p *pulse) io.ReadCloser {
	switch {
	case b.comes != nil:
		return &upload{from: b.comes, pulse: p, begun: &b.begun}
	case len(b.held) > 0:
		return &upload{from: bytes.NewReader(b.held), pulse: p}
	}
	p.uploaded()
	return http.NoBody
}

// upload is a body on its way; it is not closed with one attempt.
type upload struct {
	from  io.Reader
	pulse *pulse
	begun *atomic.Bool
}

func (u *upload) Read(p []byte) (int, error) {
	if u.begun != nil {
		u.begun.Store(true)
	}
	u.pulse.wait() // for the client, which is not the endpoint's doing
	n, err := u.from.Read(p)
	if err == nil {
		u.pulse.beat()
		return n, nil
	}
	u.pulse.uploaded()
	if !errors.Is(err, io.EOF) {
		err = &bodyError{err}
	}
	return n, err
}

// bodyError is that a body cannot be read from its client, which is not the endpoint's doing.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

func (u *upload) Close() error { return nil }

// hold reads a body, up to what is held; it is whole if nothing follows.
func hold(r io.Reader) (begin []byte, whole bool, err error) {
	var b bytes.Buffer
	_, err = io.CopyN(&b, r, mostHeld)
	if errors.Is(err, io.EOF) {
		return b.Bytes(), true, nil
	}
	return b.Bytes(), false, err
}
