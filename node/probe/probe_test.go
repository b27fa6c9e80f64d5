package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api/probe"
)

// ask runs a check once.
func ask(t *testing.T, check Check, err error) Answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return check(ctx)
}

func server(t testing.TB, secure bool, f http.HandlerFunc) (Target, int32) {
	t.Helper()
	s := httptest.NewUnstartedServer(f)
	if secure {
		s.TLS = &tls.Config{}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return Target{IP: host, Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(n)}}}, int32(n)
}

func TestHTTP(t *testing.T) {
	for _, test := range []struct {
		name string
		code int
		want Answer
	}{
		{"R4 200", 200, Answer{Text: "body"}},
		{"R4 399", 399, Answer{Warning: true, Text: "Probe terminated redirects, Response body: body"}},
		{"R4 400", 400, Answer{Outcome: probe.Failure, Text: "HTTP probe failed with statuscode: 400"}},
		{"R4 503", 503, Answer{Outcome: probe.Failure, Text: "HTTP probe failed with statuscode: 503"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			target, _ := server(t, false, func(w http.ResponseWriter, r *http.Request) {
				if r.UserAgent() != "kube-probe/1.37" || r.Header.Get("Accept") != "*/*" || r.URL.Path != "/x" || r.URL.RawQuery != "a=b" || r.Host != "virtual" || r.Header.Get("K") != "v" {
					t.Errorf("R6: got %v %v %v", r.URL, r.Host, r.Header)
				}
				w.WriteHeader(test.code)
				fmt.Fprint(w, "body")
			})
			check, err := HTTP(&corev1.HTTPGetAction{Path: "x?a=b", Port: intstr.FromString("web"), HTTPHeaders: []corev1.HTTPHeader{{Name: "host", Value: "virtual"}, {Name: "K", Value: "v"}}}, target)
			if got := ask(t, check, err); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	t.Run("R5 the certificate is not verified", func(t *testing.T) {
		target, port := server(t, true, func(http.ResponseWriter, *http.Request) {})
		check, err := HTTP(&corev1.HTTPGetAction{Scheme: corev1.URISchemeHTTPS, Port: intstr.FromInt32(port)}, target)
		if got := ask(t, check, err); got.Outcome != probe.Success {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("R7 redirects", func(t *testing.T) {
		target, port := server(t, false, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/same":
				http.Redirect(w, r, "/bad", http.StatusFound)
			case "/other":
				http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
			default:
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		for path, want := range map[string]probe.Outcome{"/same": probe.Failure, "/other": probe.Success} {
			check, err := HTTP(&corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}, target)
			got := ask(t, check, err)
			if got.Outcome != want || got.Warning != (path == "/other") {
				t.Errorf("%s: got %+v", path, got)
			}
			if got.Warning && !strings.HasPrefix(got.Text, "Probe terminated redirects, Response body: <a href=") {
				t.Errorf("warning %q", got.Text)
			}
		}
	})
	t.Run("R4 unknown port name", func(t *testing.T) {
		if _, err := HTTP(&corev1.HTTPGetAction{Port: intstr.FromString("none")}, Target{IP: "127.0.0.1"}); err == nil {
			t.Error("want an error")
		}
	})
}

func TestR8_TCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if got := ask(t, TCP(address), nil); got.Outcome != probe.Success {
		t.Errorf("got %+v", got)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("the connection was not reset: %v", err)
	}
	listener.Close()
	if got := ask(t, TCP(address), nil); got.Outcome != probe.Failure || !got.Refused {
		t.Errorf("got %+v", got)
	}
}

func TestR9_Exec(t *testing.T) {
	for _, test := range []struct {
		output string
		code   int32
		err    error
		want   Answer
	}{
		{"fine", 0, nil, Answer{Text: "fine"}},
		{"bad", 2, nil, Answer{Outcome: probe.Failure, Text: "bad"}},
		{"", 0, context.DeadlineExceeded, Answer{Outcome: probe.Failure, Text: `command timed out: ["x"] timed out after 1s`}},
		{"", 0, fmt.Errorf("no runtime"), Answer{Outcome: probe.Unknown, Text: "no runtime"}},
	} {
		target := Target{Exec: func(context.Context, []string, time.Duration) (string, int32, error) {
			return test.output, test.code, test.err
		}}
		check, err := New(&corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}, target, time.Second)
		if got := ask(t, check, err); got != test.want {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}

func TestR10_GRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	h.SetServingStatus("sick", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	go s.Serve(listener)
	defer s.Stop()
	address := listener.Addr().String()
	if got := ask(t, GRPC(address, "", time.Second), nil); got.Outcome != probe.Success {
		t.Errorf("got %+v", got)
	}
	if got := ask(t, GRPC(address, "sick", time.Second), nil); got.Outcome != probe.Failure || got.Text != `service unhealthy (responded with "NOT_SERVING")` {
		t.Errorf("got %+v", got)
	}
	if got := ask(t, GRPC(address, "unknown", time.Second), nil); got.Outcome != probe.Failure {
		t.Errorf("got %+v", got)
	}
	if got := ask(t, GRPC("127.0.0.1:1", "", time.Second), nil); got.Outcome != probe.Failure || !got.Refused {
		t.Errorf("got %+v", got)
	}
}

// TestRefusedIsAskedAgainSoon: a program that needs a moment to listen is found long before the first period is over.
func TestRefusedIsAskedAgainSoon(t *testing.T) {
	var tries atomic.Int32
	flipped := make(chan bool, 1)
	begin := time.Now()
	r := &Runner{
		Kind: probe.Readiness, Spec: &corev1.Probe{PeriodSeconds: 30}, Started: begin,
		Check: func(context.Context) Answer {
			if tries.Add(1) < 4 {
				return Answer{Outcome: probe.Failure, Refused: true}
			}
			return Answer{}
		},
		Flipped: func(good bool, _ string) { flipped <- good },
		Answered: func(a Answer) {
			if a.Outcome != probe.Success {
				t.Errorf("a try before the first period was reported: %+v", a)
			}
		},
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { r.Run(ctx) })
	select {
	case good := <-flipped:
		if !good {
			t.Error("it flipped to bad")
		}
	case <-time.After(20 * time.Second):
		t.Error("it was not asked again")
	}
	cancel()
	wg.Wait()
}

func TestR17_StartupEndsWithItsSuccess(t *testing.T) {
	r := &Runner{
		Kind: probe.Startup, Spec: &corev1.Probe{PeriodSeconds: 1}, Started: time.Now(),
		Check: func(context.Context) Answer { return Answer{} }, Flipped: func(bool, string) {}, Answered: func(Answer) {},
	}
	done := make(chan struct{})
	go func() { r.Run(t.Context()); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the probe goes on")
	}
}
