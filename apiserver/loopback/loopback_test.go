package loopback

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, ctx context.Context, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://server/a/b?c=d", strings.NewReader("question"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	client := http.Client{Transport: &Transport{Handler: h, Certs: func() []*x509.Certificate { return []*x509.Certificate{{}} }}}
	return client.Do(r)
}

func TestRequestAndAnswer(t *testing.T) {
	answer, err := get(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("Kind", "test")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("Late", "not seen")
		r.Header.Del("Authorization") // as authentication does
		fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.URL.String(), " ", r.Host, " ", r.ProtoMajor, " ", len(r.TLS.PeerCertificates), " ", string(body), err)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if want := "POST /a/b?c=d /a/b?c=d server 2 1 question<nil>"; string(body) != want || err != nil {
		t.Errorf("%q, %v; want %q", body, err, want)
	}
	if answer.StatusCode != http.StatusTeapot || answer.Header.Get("Kind") != "test" || answer.Header.Get("Late") != "" {
		t.Errorf("%s %v", answer.Status, answer.Header)
	}
	if answer.Request.Header.Get("Authorization") == "" {
		t.Error("the server changed the client's request")
	}
}

// TestStream reads each line when it is flushed, and ends the handler by closing the body.
func TestStream(t *testing.T) {
	next, ended := make(chan string), make(chan bool, 1)
	answer, err := get(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		gone := w.(http.CloseNotifier).CloseNotify() //lint:ignore SA1019 what is tested
		for {
			select {
			case line := <-next:
				fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				ended <- <-gone
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(answer.Body)
	for _, want := range []string{"one", "two", "three"} {
		next <- want
		if line, err := lines.ReadString('\n'); line != want+"\n" {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	answer.Body.Close()
	wait(t, ended)
	if _, err := answer.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body can be read")
	}
}

// TestCancelled ends a request in each state: before its answer begins, and while its body is read, which must not look
// complete.
func TestCancelled(t *testing.T) {
	for _, begins := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		entered, ended := make(chan bool, 1), make(chan bool, 1)
		time.AfterFunc(time.Minute, cancel)
		go func() { <-entered; cancel() }()
		answer, err := get(t, ctx, func(w http.ResponseWriter, r *http.Request) {
			if begins {
				fmt.Fprint(w, "part")
				w.(http.Flusher).Flush()
			}
			entered <- true
			<-r.Context().Done()
			ended <- true
		})
		if err == nil {
			_, err = io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("answer begins: %v: %v", begins, err)
		}
		wait(t, ended)
	}
}

// TestSlowReader makes the handler wait for the client, and gives it every byte in order.
func TestSlowReader(t *testing.T) {
	full, wrote := make(chan bool, 1), make(chan bool, 1)
	part := bytes.Repeat([]byte("0123456789abcdef"), fullAt/16)
	answer, err := get(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		w.Write(part)
		full <- true
		w.Write(part)
		wrote <- true
		w.Write(part[:100])
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, full)
	select {
	case <-wrote:
		t.Error("the handler did not wait")
	default:
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Equal(body, append(append(part[:len(part):len(part)], part...), part[:100]...)) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	answer.Body.Close()
}

func TestPanicFailsTheRequest(t *testing.T) {
	for _, begins := range []bool{false, true} {
		answer, err := get(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			if begins {
				w.(http.Flusher).Flush()
			}
			panic(http.ErrAbortHandler)
		})
		if err == nil {
			_, err = io.ReadAll(answer.Body)
		}
		if err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("answer begins: %v: %v", begins, err)
		}
	}
}

func wait(t *testing.T, c <-chan bool) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing came in a minute")
	}
}
