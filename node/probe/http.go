package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
)

const (
	maxBody      = 10 << 10 // how much of an answer is read for the event text (rule R6)
	maxRedirects = 10
)

// userAgent names the release of Kubernetes whose probes these are.
const userAgent = "kube-probe/1.37"

// HTTP checks with a GET request; 200 up to 399 is a success, certificates are not verified, redirects are followed on the same
// host only (rules R4-R7). Every try is one new connection, read and written by the calling goroutine alone: a node asks many
// times a second, and what net/http keeps around a connection would cost more than the question.
func HTTP(h *corev1.HTTPGetAction, t Target) (Check, error) {
	port, err := t.port(h.Port)
	if err != nil {
		return nil, err
	}
	first := probeURL(h, net.JoinHostPort(either(h.Host, t.IP), port))
	header, host := probeHeader(h.HTTPHeaders)
	return func(ctx context.Context) Answer {
		target := first
		for range maxRedirects {
			response, body, err := get(ctx, target, header, host)
			if err != nil {
				return failed(&url.Error{Op: "Get", URL: target.String(), Err: err})
			}
			if response.StatusCode < 200 || response.StatusCode >= 400 {
				return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)}
			}
			next, err := response.Location()
			if response.StatusCode < 300 || err != nil || next.Hostname() != target.Hostname() {
				return Answer{Text: string(body)}
			}
			target = next
		}
		return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("Get %q: stopped after %d redirects", first, maxRedirects)}
	}, nil
}

// get makes one request on a connection of its own.
func get(ctx context.Context, target *url.URL, header http.Header, host string) (*http.Response, []byte, error) {
	address := target.Host
	if target.Port() == "" {
		address = net.JoinHostPort(target.Hostname(), map[string]string{"http": "80", "https": "443"}[target.Scheme])
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, nil, err
		}
	}
	if target.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: target.Hostname()})
	}
	request := &http.Request{Method: http.MethodGet, URL: target, Header: header, Host: host, Close: true}
	if err := request.Write(conn); err != nil {
		return nil, nil, awaited(err)
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), request)
	if err != nil {
		return nil, nil, awaited(err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, nil, awaited(err)
	}
	return response, body, nil
}

// awaited gives a timeout the words of upstream's client.
func awaited(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
	}
	return err
}

func probeURL(h *corev1.HTTPGetAction, hostPort string) *url.URL {
	u, err := url.Parse(h.Path)
	if err != nil { // the path is used as it is, as upstream does
		u = &url.URL{Path: h.Path}
	}
	u.Scheme, u.Host = strings.ToLower(string(h.Scheme)), hostPort
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	return u
}

func probeHeader(own []corev1.HTTPHeader) (http.Header, string) {
	header, host := http.Header{}, ""
	for _, h := range own {
		if strings.EqualFold(h.Name, "Host") {
			host = h.Value
			continue
		}
		header.Add(h.Name, h.Value)
	}
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", userAgent)
	}
	if _, ok := header["Accept"]; !ok {
		header.Set("Accept", "*/*")
	}
	return header, host
}
