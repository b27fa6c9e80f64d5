package probe

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api/probe"
)

// rawServer answers every request with these bytes and closes the connection.
func rawServer(t *testing.T, answer string) (Target, int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = conn.Write([]byte(answer)) // the client decides when it has enough
			}
			conn.Close()
		}
	}()
	return Target{IP: "127.0.0.1"}, int32(listener.Addr().(*net.TCPAddr).Port)
}

// TestRawAnswers: answers as servers write them, also odd and broken ones, are read as Go's client reads them (rule R4).
func TestRawAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, test := range []struct {
		name, answer string
		want         probe.Outcome
	}{
		{"plain", ok, probe.Success},
		{"continue first", "HTTP/1.1 100 Continue\r\n\r\n" + ok, probe.Success},
		{"early hints first", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, probe.Success},
		{"continue, then failing", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", probe.Failure},
		{"nothing after continue", "HTTP/1.1 100 Continue\r\n\r\n", probe.Failure},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", probe.Failure},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", probe.Success},
		{"not modified, with a place", "HTTP/1.1 304 Not Modified\r\nLocation: /elsewhere\r\n\r\n", probe.Success},
		{"many choices, with a place", "HTTP/1.1 300 Many\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", probe.Success},
		{"moved to nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", probe.Success},
		{"moved to nonsense", "HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n", probe.Failure},
		{"moved in a circle", "HTTP/1.1 307 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", probe.Failure},
		{"old protocol", "HTTP/1.0 200 OK\r\n\r\nok", probe.Success},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", probe.Success},
		{"broken chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", probe.Failure},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok", probe.Failure},
		{"large", "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("a", 200000), probe.Success},
		{"no protocol", "hello\r\n", probe.Failure},
		{"nothing", "", probe.Failure},
		{"no status", "HTTP/1.1 abc\r\n\r\n", probe.Failure},
		{"unknown status", "HTTP/1.1 299 Hm\r\nContent-Length: 0\r\n\r\n", probe.Success},
		{"endless header", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 12000), probe.Failure},
	} {
		t.Run(test.name, func(t *testing.T) {
			target, port := rawServer(t, test.answer)
			check, err := HTTP(&corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(port)}, target)
			if got := ask(t, check, err); got.Outcome != test.want || len(got.Text) > maxBody {
				t.Errorf("%d: %.200s", got.Outcome, got.Text)
			}
		})
	}
}
