package l7

import "net"

// recording keeps what is read of a connection, and writes nothing.
type recording struct {
	*connection
	read []byte
}

func (r *recording) Read(b []byte) (int, error) {
	n, err := r.connection.Read(b)
	r.read = append(r.read, b[:n]...)
	return n, err
}

func (r *recording) Write(b []byte) (int, error) { return len(b), nil }

// queue is a net.Listener whose connections are put in.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
}

func newQueue() *queue { return &queue{make(chan net.Conn), make(chan struct{})} }

// put hands a connection to who accepts; false when nobody does any more.
func (q *queue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	select {
	case <-q.done:
	default:
		close(q.done)
	}
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
