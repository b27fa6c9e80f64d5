package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/probe"
)

const (
	maxBody      = 10 << 10 // how much of an answer is read for the event text (rule R6)
	maxRedirects = 10
)

// userAgent and hookAgent name the release of Kubernetes whose probes and hooks these are.
const (
	userAgent = "kube-probe/1.37"
	hookAgent = "kube-lifecycle/1.37"
)

// HTTP checks with a GET request; 200 up to 399 is a success, certificates are not verified, redirects are followed on the same
// host only (rules R4-R7). Every try is one new connection.
func HTTP(h *corev1.HTTPGetAction, t Target) (Check, error) {
	request, err := httpRequest(h, t, userAgent)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) Answer {
		response, err := client.Do(request.Clone(ctx))
		if err != nil {
			return failed(awaited(err))
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
		switch {
		case err != nil:
			return failed(awaited(err))
		case response.StatusCode < 200 || response.StatusCode >= 400:
			return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)}
		case response.StatusCode >= 300: // a redirect that was not followed
			return Answer{Warning: true, Text: "Probe terminated redirects, Response body: " + string(body)}
		}
		return Answer{Text: string(body)}
	}, nil
}

// client follows redirects on one host, on a connection for each request.
var client = &http.Client{CheckRedirect: sameHost, Transport: oneShot{}}

func httpRequest(h *corev1.HTTPGetAction, t Target, agent string) (*http.Request, error) {
	if _, err := t.port(h.Port); err != nil {
		return nil, err
	}
	request := &http.Request{Method: http.MethodGet, URL: probeURL(h, t.HostPort(h))}
	request.Header, request.Host = probeHeader(h.HTTPHeaders, agent)
	return request, nil
}

// Hook makes the request of a lifecycle hook. Whatever is answered is a success. Where HTTPS was asked for and HTTP is spoken the request is
// made again so, and plain is true (kubelet).
func Hook(ctx context.Context, h *corev1.HTTPGetAction, t Target) (plain bool, err error) {
	request, err := httpRequest(h, t, hookAgent)
	if err != nil {
		return false, err
	}
	err = get(request.Clone(ctx))
	if !errors.Is(err, http.ErrSchemeMismatch) {
		return false, err
	}
	again := request.Clone(ctx)
	again.URL.Scheme = "http"
	again.Header.Del("Authorization")
	if get(again) != nil {
		return false, err
	}
	return true, nil
}

// get makes a request and reads some of what is answered.
func get(request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxBody) // it is of no consequence
	return nil
}

// sameHost follows redirects to the host that was asked first; the answer that leads elsewhere is the last one.
func sameHost(next *http.Request, so []*http.Request) error {
	if next.URL.Hostname() != so[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(so) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// awaited gives a timeout the words of upstream's client.
func awaited(err error) error {
	var about *url.Error
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &about) {
		return err
	}
	return &url.Error{Op: about.Op, URL: about.URL, Err: errors.New("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")}
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

func probeHeader(own []corev1.HTTPHeader, agent string) (http.Header, string) {
	header, host := http.Header{}, ""
	for _, h := range own {
		if strings.EqualFold(h.Name, "Host") {
			host = h.Value
			continue
		}
		header.Add(h.Name, h.Value)
	}
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", agent)
	}
	if _, ok := header["Accept"]; !ok {
		header.Set("Accept", "*/*")
	} else if header.Get("Accept") == "" {
		header.Del("Accept") // set to nothing: not sent
	}
	return header, host
}
