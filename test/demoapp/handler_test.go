package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func body(t *testing.T, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestFrontPageSaysWhoAsksAndWhoAnswers(t *testing.T) {
	h := newHandler("demoapp-5f7d8f9847-hwxrb", "v1.0")
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "[::ffff:10.244.5.1]:40000" // how a listener on every address sees IPv4
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.244.5.16:80"))
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	want := "iKubernetes demoapp v1.0 !! ClientIP: 10.244.5.1, ServerName: demoapp-5f7d8f9847-hwxrb, ServerIP: 10.244.5.16!\n"
	if w.Body.String() != want {
		t.Errorf("got  %q\nwant %q", w.Body.String(), want)
	}
}

func TestHealthSwitches(t *testing.T) {
	server := httptest.NewServer(newHandler("pod", "v1.0"))
	defer server.Close()
	for _, c := range []struct {
		name    string
		failing int
	}{{"readyz", 507}, {"livez", 506}} {
		at := server.URL + "/" + c.name
		for _, step := range []struct {
			set    string
			status int
		}{{"", 200}, {"FAIL", c.failing}, {"OK", 200}} {
			if step.set != "" {
				resp, err := http.PostForm(at, url.Values{c.name: {step.set}})
				if status, text := body(t, resp, err); status != 200 || text != "" {
					t.Errorf("POST %s=%s answers %d %q, want 200 and nothing", c.name, step.set, status, text)
				}
			}
			resp, err := http.Get(at)
			want := step.set
			if want == "" {
				want = "OK"
			}
			if status, text := body(t, resp, err); status != step.status || text != want {
				t.Errorf("%s after %q answers %d %q, want %d %q", c.name, step.set, status, text, step.status, want)
			}
		}
		resp, err := http.PostForm(at, url.Values{"other": {"FAIL"}})
		if status, text := body(t, resp, err); status != 400 || !strings.Contains(text, c.name+"=OK") {
			t.Errorf("a POST without the field answers %d %q", status, text)
		}
	}
}

func TestOtherPages(t *testing.T) {
	server := httptest.NewServer(newHandler("pod", "v1.1"))
	defer server.Close()
	for path, want := range map[string]string{
		"/hostname": "ServerName: pod\n", "/user-agent": "User-Agent: Go-http-client/1.1\n", "/version": "v1.1\n",
	} {
		resp, err := http.Get(server.URL + path)
		if _, text := body(t, resp, err); text != want {
			t.Errorf("%s answers %q, want %q", path, text, want)
		}
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	entered, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			fmt.Fprint(w, "finished")
		}))
	}()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		data, _ := io.ReadAll(resp.Body)
		answer <- string(data)
	}()
	<-entered
	cancel()
	deadline := time.Now().Add(5 * time.Second)
	for {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break // it accepts nobody new
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still accepts connections after the stop")
		}
	}
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
