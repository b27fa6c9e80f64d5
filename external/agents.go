package external

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/probe"
)

const (
	dialTimeout = 2 * time.Second // to an agent; after it another node is asked
	grace       = 3 * time.Second // what a question may take longer than the probe in it
	maxReply    = 64 << 10
)

// Asker has a node probe an address once. An error means that the node could not be asked, which says nothing about the address.
type Asker func(ctx context.Context, node *corev1.Node, request probe.Request) (probe.Reply, error)

// Agents returns an Asker that asks the agents of nodes over HTTPS. It shows them cert, which must be one that agents obey
// (organization system:masters), and trusts agents whose certificate one of roots signed. Connections are kept.
func Agents(cert tls.Certificate, roots *x509.CertPool) Asker {
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: inFlight,
			IdleConnTimeout:     90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, node *corev1.Node, request probe.Request) (probe.Reply, error) {
		var reply probe.Reply
		to, err := agentURL(node)
		if err != nil {
			return reply, err
		}
		body, err := json.Marshal(request)
		if err != nil {
			return reply, fmt.Errorf("ask node %s: %w", node.Name, err)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Duration(request.TimeoutSeconds)*time.Second+grace)
		defer cancel()
		post, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
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

func agentURL(node *corev1.Node) (string, error) {
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && port != 0 {
			return "https://" + net.JoinHostPort(a.Address, strconv.Itoa(int(port))) + probe.Path, nil
		}
	}
	return "", fmt.Errorf("ask node %s: it has not published its address and the port of its agent yet", node.Name)
}
