package external

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

	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

const (
	dialTimeout = 2 * time.Second // to an agent; after it another node is asked
	grace       = 3 * time.Second // what a question may take longer than the probe in it
	maxReply    = 64 << 10
)

// Asker has a node probe an address once. An error means that the node could not be asked, which says nothing about the address.
type Asker func(ctx context.Context, node *corev1.Node, request probe.Request) (probe.Reply, error)

// Agents returns an Asker that asks the agents of nodes over HTTPS, as peer.Agents does. Connections are kept.
func Agents(as *pki.Source, roots *x509.CertPool) Asker {
	var addresses sync.Map // of agents, by node
	transport := peer.Agents(as, roots, func(ctx context.Context, node string) (netip.AddrPort, error) {
		at, _ := addresses.Load(node)
		return at.(netip.AddrPort), nil // it is stored before each question
	})
	reach := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return reach(ctx, network, address)
	}
	transport.MaxIdleConnsPerHost = healthcheck.MaxInFlight
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, node *corev1.Node, request probe.Request) (probe.Reply, error) {
		var reply probe.Reply
		at, err := peer.Agent(node)
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		addresses.Store(node.Name, at)
		body, err := json.Marshal(request)
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Duration(request.TimeoutSeconds)*time.Second+grace)
		defer cancel()
		post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+peer.Host(node)+probe.Path, bytes.NewReader(body))
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		post.Header.Set("Content-Type", "application/json")
		response, err := client.Do(post)
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		if response.StatusCode != http.StatusOK {
			return reply, fmt.Errorf("ask node %s: %s: %s", node.Name, response.Status, strings.TrimSpace(string(text)))
		}
		if err := json.Unmarshal(text, &reply); err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		return reply, nil
	}
}
