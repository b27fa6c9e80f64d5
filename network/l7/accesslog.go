package l7

import (
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// accessLog writes a line of JSON for each request, or for one of some.
type accessLog struct {
	every uint64
	count atomic.Uint64
	mu    sync.Mutex
	to    io.Writer
}

func newAccessLog(to io.Writer, every int) *accessLog {
	if to == nil {
		return nil
	}
	return &accessLog{to: to, every: uint64(max(every, 1))}
}

// entry is a line of the access log.
type entry struct {
	Time     time.Time `json:"time"`
	Client   string    `json:"client"`
	Method   string    `json:"method"`
	Scheme   string    `json:"scheme"`
	Host     string    `json:"host"`
	URI      string    `json:"uri"`
	Proto    string    `json:"proto"`
	Status   int       `json:"status"`
	Bytes    int64     `json:"bytes"`
	Took     float64   `json:"seconds"`
	Agent    string    `json:"user_agent,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Service  string    `json:"service,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
	Tries    int       `json:"tries,omitempty"`
	ID       string    `json:"id,omitempty"`
}

// wants reports whether the next request is to be written.
func (l *accessLog) wants() bool { return l != nil && l.count.Add(1)%l.every == 0 }

func (l *accessLog) write(line *entry) {
	text, err := json.Marshal(line)
	if err != nil {
		return // text and numbers always are JSON
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.to.Write(append(text, '\n')) // a log that cannot be written stops no request
}

// done is after a request's answer, however it went.
func (x *exchange) done() {
	x.metrics.inFlight.Dec()
	took := time.Since(x.begin)
	if x.leave != nil {
		x.leave(x.conn.client.Addr())
	}
	x.metrics.answered(x.service, x.w.status, took)
	if !x.access.wants() || x.rule != nil && x.rule.Action.Quiet {
		return
	}
	line := &entry{
		Time: x.begin.UTC(), Client: x.conn.client.String(), Method: x.r.Method, Scheme: x.scheme(), Host: x.r.Host, URI: x.r.RequestURI, Proto: x.r.Proto,
		Status: x.w.status, Bytes: x.w.bytes, Took: took.Seconds(), Agent: x.r.UserAgent(), Endpoint: x.endpoint, Tries: x.tries, ID: x.id,
	}
	if x.service != (types.NamespacedName{}) {
		line.Service = x.service.String()
	}
	if x.rule != nil {
		line.Rule = x.rule.Source.String()
	}
	x.access.write(line)
}
