package l7

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
)

// How much of a body is held in memory, and how much at all, where it has to be held back or may have to be sent again.
const (
	inMemory    = 64 << 10
	mostHeld    = 1 << 30
	mostCopied  = 1 << 20 // of a request to mirrors
	copyPortion = 32 << 10
)

// body is that of a request: as it comes, or held.
type body struct {
	length int64 // bytes; -1: not known before its end
	comes  io.Reader
	begun  atomic.Bool
	held   *held
	users  atomic.Int32 // besides the first
}

// takeBody decides how the body is sent, and waits for it where it has to be whole.
func (x *exchange) takeBody(t *target) (*body, *problem) {
	b := &body{length: x.r.ContentLength, comes: x.r.Body}
	if b.length == 0 {
		b.comes = nil
		return b, nil
	}
	copies, retries := len(x.plan.mirrors)+len(t.mirrors) > 0, x.plan.Retry.Tries > 0
	small := b.length > 0 && b.length <= inMemory
	switch {
	case x.plan.BufferRequest, retries && small, copies && b.length <= mostCopied:
		most := int64(mostHeld)
		if copies && !x.plan.BufferRequest && b.length < 0 {
			most = mostCopied
		}
		h, err := hold(x.r.Body, most)
		if err != nil {
			return nil, x.unheld(err)
		}
		b.held, b.length = h, h.size
	}
	return b, nil
}

func (x *exchange) unheld(err error) *problem {
	if large := new(http.MaxBytesError); errors.As(err, &large) || errors.Is(err, errTooLarge) {
		return &problem{http.StatusRequestEntityTooLarge, "the body of the request is too large"}
	}
	return &problem{http.StatusBadRequest, "the body of the request ended early"}
}

// untouched reports whether it can still be sent from its beginning.
func (b *body) untouched() bool { return b.repeatable() || !b.begun.Load() }

func (b *body) repeatable() bool { return b.comes == nil || b.held != nil }

// reader is the body for one attempt.
func (b *body) reader(p *pulse) io.ReadCloser {
	switch {
	case b.comes == nil:
		p.uploaded()
		return http.NoBody
	case b.held != nil:
		return &upload{from: b.held.reader(), pulse: p}
	}
	return &upload{from: b.comes, pulse: p, begun: &b.begun}
}

// lend keeps what is held until the returned function and close were called.
func (b *body) lend() (back func()) {
	b.users.Add(1)
	return b.close
}

func (b *body) close() {
	if b.users.Add(-1) < 0 && b.held != nil {
		b.held.close()
	}
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
	if err != nil {
		u.pulse.uploaded()
	} else {
		u.pulse.beat()
	}
	return n, err
}

func (u *upload) Close() error { return nil }

var errTooLarge = errors.New("too large to be held")

// held is a body in memory, or in a file without a name when it is large.
type held struct {
	begin []byte
	rest  *os.File
	size  int64
}

func hold(r io.Reader, most int64) (*held, error) {
	var begin bytes.Buffer
	n, err := io.CopyN(&begin, r, inMemory)
	h := &held{begin: begin.Bytes(), size: n}
	if errors.Is(err, io.EOF) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	if h.rest, err = os.CreateTemp("", "fairlead-body-"); err != nil {
		return nil, err
	}
	err = os.Remove(h.rest.Name())
	if err == nil {
		n, err = io.Copy(h.rest, io.LimitReader(r, most-inMemory+1))
		h.size += n
	}
	if err == nil && h.size > most {
		err = errTooLarge
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *held) reader() io.Reader {
	if h.rest == nil {
		return bytes.NewReader(h.begin)
	}
	return io.MultiReader(bytes.NewReader(h.begin), io.NewSectionReader(h.rest, 0, h.size-int64(len(h.begin))))
}

func (h *held) close() {
	if h.rest != nil {
		_ = h.rest.Close() // it has no name any more, and goes with this
	}
}
