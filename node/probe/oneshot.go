package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

// The limits of net/http's own Transport.
const (
	maxHeader        = 10 << 20 // bytes of an answer before its body
	maxInformational = 5        // answers of class 1xx before the one that counts
)

// oneShot makes each request on a connection of its own, written and read by the calling goroutine alone: a node asks many times
// a second, and the goroutines and timers that http.Transport keeps around a connection cost more than the question. Everything
// else is net/http's: the client above it follows redirects, http.ReadResponse reads.
type oneShot struct{}

func (oneShot) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	conn, err := dial(ctx, hostPort(request.URL))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, err
		}
	}
	x := &exchange{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })}
	response, err := x.ask(request)
	if err != nil {
		x.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	x.body, response.Body = response.Body, x
	return response, nil
}

// exchange is one request and its answer; closing the answer's body closes the connection.
type exchange struct {
	net.Conn
	stop func() bool
	body io.ReadCloser
}

func (x *exchange) Read(p []byte) (int, error) { return x.body.Read(p) }

func (x *exchange) Close() error {
	x.stop()
	return x.Conn.Close()
}

// ask writes the request and reads the head of the answer that counts.
func (x *exchange) ask(request *http.Request) (*http.Response, error) {
	conn := x.Conn
	if request.URL.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: request.URL.Hostname()})
	}
	once := *request
	once.Close = true
	if err := once.Write(conn); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
			return nil, http.ErrSchemeMismatch
		}
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	reader := bufio.NewReaderSize(limited, 1024)
	for range maxInformational + 1 {
		response, err := http.ReadResponse(reader, request)
		switch {
		case err != nil && limited.N <= 0:
			return nil, errors.New("the head of the answer is longer than 10 MiB")
		case err != nil:
			return nil, err
		case response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols:
			limited.N = math.MaxInt64
			return response, nil
		}
	}
	return nil, errors.New("too many 1xx informational responses")
}

// hostPort is where a URL leads.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}
