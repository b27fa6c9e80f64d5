package l7

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

var portions = sync.Pool{New: func() any { b := make([]byte, portion); return &b }}

// relay gives the endpoint's answer to the client, as it comes.
func (x *exchange) relay(a *attempt) {
	h, r := x.w.Header(), a.response
	x.answerHeader(h, a)
	var announced []string
	for name := range r.Trailer {
		announced = append(announced, name)
	}
	if len(announced) > 0 {
		h["Trailer"] = []string{strings.Join(announced, ", ")}
	}
	from := io.Reader(r.Body)
	if x.plan.BufferResponse {
		begin, whole, err := hold(r.Body)
		if err != nil {
			x.unanswered(a, err)
			return
		}
		if from = bytes.NewReader(begin); !whole {
			from = io.MultiReader(from, r.Body)
		}
	}
	x.w.WriteHeader(r.StatusCode)
	if err := x.copyBody(from, r.ContentLength, a.pulse); err != nil {
		x.log.Debug("an answer was cut off", "endpoint", a.endpoint.Text, "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
	for name, values := range r.Trailer {
		if len(announced) == 0 || !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// unanswered is when an answer that was to be held back ends before its end.
func (x *exchange) unanswered(a *attempt, err error) {
	clear(x.w.Header())
	x.failed(a.ctx, a.target, err)
}

// answerHeader is the endpoint's header, as it goes on.
func (x *exchange) answerHeader(h http.Header, a *attempt) {
	switching := a.response.StatusCode == http.StatusSwitchingProtocols
	upgrade := a.response.Header.Get("Upgrade")
	dropHopByHop(a.response.Header)
	for name, values := range a.response.Header {
		h[name] = values
	}
	if switching {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	editHeader(h, a.target.Response)
	x.stick(h, a)
}

// copyBody copies what comes without waiting for more of it.
func (x *exchange) copyBody(from io.Reader, length int64, p *pulse) error {
	buffer := portions.Get().(*[]byte)
	defer portions.Put(buffer)
	control, sent := http.NewResponseController(x.w), int64(0)
	for {
		n, err := from.Read(*buffer)
		p.got()
		if n > 0 {
			if _, failed := x.w.Write((*buffer)[:n]); failed != nil {
				return failed
			}
			if sent += int64(n); sent != length {
				_ = control.Flush() // a client that has gone is found out by the next write
			}
		} else if sent == 0 && err == nil {
			_ = control.Flush()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
