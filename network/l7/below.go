package l7

import (
	"io"
	"net"
	"time"
)

// againError is what a read says that has nothing yet. TLS takes it for an error that passes.
type againError struct{}

func (againError) Error() string   { return "nothing to read yet" }
func (againError) Timeout() bool   { return true }
func (againError) Temporary() bool { return true }

var errAgain error = againError{}

// below is the connection under the TLS of a session: it reads what is there, and writes what there is room for.
type below struct{ *session }

func (b below) Read(p []byte) (int, error) {
	n, ok := b.session.end.read(p)
	switch {
	case !ok:
		return 0, io.EOF
	case n == 0:
		return 0, errAgain
	}
	return n, nil
}

func (b below) Write(p []byte) (int, error) {
	if !b.session.push(p) {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func (b below) Close() error                     { return nil } // the session closes its socket
func (b below) LocalAddr() net.Addr              { return nil }
func (b below) RemoteAddr() net.Addr             { return nil }
func (b below) SetDeadline(time.Time) error      { return nil } // a session has deadlines of its own
func (b below) SetReadDeadline(time.Time) error  { return nil }
func (b below) SetWriteDeadline(time.Time) error { return nil }
