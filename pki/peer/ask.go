package peer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/pki"
)

// askDial bounds connecting to the agent of a node that is asked something: somebody waits for the answer.
const askDial = 2 * time.Second

// Asker asks the agents of nodes in JSON, over connections that are kept. Make one with NewAsker.
type Asker struct {
	client    *http.Client
	addresses sync.Map // of agents, by node
}

// NewAsker returns an Asker that keeps at most so many connections to each node.
func NewAsker(as *pki.Source, roots *x509.CertPool, kept int) *Asker {
	a := &Asker{}
	transport := Agents(as, roots, func(_ context.Context, node string) (netip.AddrPort, error) {
		at, _ := a.addresses.Load(node)
		return at.(netip.AddrPort), nil // it is stored before each question
	})
	reach := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, askDial)
		defer cancel()
		return reach(ctx, network, address)
	}
	transport.MaxIdleConnsPerHost = kept
	a.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a
}

// Ask asks the agent of a node at a path: by POST of a question, or by GET without one. It reads the answer, most bytes of it, into
// reply. An error means that there is no answer.
func (a *Asker) Ask(ctx context.Context, node *corev1.Node, path string, question, reply any, most int64) error {
	at, err := Agent(node)
	if err != nil {
		return err
	}
	a.addresses.Store(node.Name, at)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+Host(node)+path, nil)
	if err == nil && question != nil {
		err = post(request, question)
	}
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %.200s", response.Status, strings.TrimSpace(string(text)))
	}
	return json.Unmarshal(text, reply)
}

// post makes a request one that brings a question.
func post(r *http.Request, question any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil } // for a kept connection that has ended
	r.Header.Set("Content-Type", "application/json")
	return nil
}
