package loadbalancer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// maxReply bounds what a node says at once.
const maxReply = 4 << 20

// Asker tells a node what to announce, and returns what has become of it. An error means that the node did not answer.
type Asker func(ctx context.Context, node *corev1.Node, request announce.Request) (announce.Reply, error)

// Agents returns an Asker that asks the agents of nodes over HTTPS, as peer.Agents does. Connections are kept.
func Agents(as *pki.Source, roots *x509.CertPool) Asker {
	var addresses sync.Map // of agents, by node
	client := &http.Client{
		Transport: peer.Agents(as, roots, func(_ context.Context, node string) (netip.AddrPort, error) {
			at, _ := addresses.Load(node)
			return at.(netip.AddrPort), nil // it is stored before each question
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, node *corev1.Node, request announce.Request) (announce.Reply, error) {
		at, err := peer.Agent(node)
		if err != nil {
			return announce.Reply{}, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		addresses.Store(node.Name, at)
		reply, err := post(ctx, client, "https://"+peer.Host(node)+announce.Path, request)
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		return reply, nil
	}
}

// post asks at a URL. Who has not answered when it counts as silent has not answered.
func post(ctx context.Context, client *http.Client, url string, request announce.Request) (reply announce.Reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, announce.Silence)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return reply, err
	}
	question, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	question.Header.Set("Content-Type", "application/json")
	response, err := client.Do(question)
	if err != nil {
		return reply, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return reply, err
	}
	if response.StatusCode != http.StatusOK {
		return reply, fmt.Errorf("%s: %.200s", response.Status, text)
	}
	return reply, json.Unmarshal(text, &reply)
}
