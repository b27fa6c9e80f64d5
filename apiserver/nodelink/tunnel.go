package nodelink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/util/proxy"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/pki/peer"
)

// dialTimeout bounds how long an unreachable address holds a request.
const dialTimeout = 10 * time.Second

// Dial connects to an address of a pod, or of an endpoint that somebody wrote by hand, as the nodes reach it: the agent of a
// node connects and carries the bytes. This host itself may have no way there, and its default route would lead to a stranger
// who has the address.
func (l *Link) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	list, err := l.nodes.List(genericapirequest.WithNamespace(ctx, ""), &metainternalversion.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("the nodes cannot be listed: %w", err)
	}
	by, err := vantage(list.(*corev1.NodeList).Items, to, l.claims, l.port)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := proxy.DialURL(ctx, &url.URL{Scheme: "https", Host: peer.Host(by)}, l.transport)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", by.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	through, err := connect(conn, to)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("node %s: %w", by.Name, err)
	}
	return through, nil
}

// vantage is the node that reaches an address: the one whose pods have it, or whose own it is, and for an address outside of
// the cluster the first that is ready. The API server itself, which answers at port, is nobody's endpoint here.
func vantage(nodes []corev1.Node, to netip.AddrPort, known claim.Cluster, port uint16) (*corev1.Node, error) {
	ip := to.Addr().Unmap()
	var ready *corev1.Node
	for i := range nodes {
		n := &nodes[i]
		own := slices.Contains(api.InternalIPs(n), ip)
		if own && slices.Contains(known.API, ip) && to.Port() == port {
			return nil, fmt.Errorf("address not allowed: %s is the API server", to)
		}
		if _, err := peer.Agent(n); err != nil {
			continue
		}
		if own || holds(n, ip) {
			return n, nil
		}
		if ready == nil && api.NodeReady(n) {
			ready = n
		}
	}
	if slices.Contains(known.API, ip) {
		return nil, fmt.Errorf("address not allowed: %s is the API server's", ip)
	}
	if err := claim.Usable(ip, known.Pods, known.Services); err != nil {
		return nil, fmt.Errorf("no node has it: %w", err)
	}
	if ready == nil {
		return nil, errors.New("no node is ready that could connect")
	}
	return ready, nil
}

// holds says whether an address is in one of a node's ranges of pods.
func holds(n *corev1.Node, ip netip.Addr) bool {
	return slices.ContainsFunc(api.PodRanges(n), func(r netip.Prefix) bool { return r.Contains(ip) })
}

// connect asks the agent at the other end for a connection to an address.
func connect(conn net.Conn, to netip.AddrPort) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to); err != nil {
		return nil, err
	}
	from := bufio.NewReader(conn)
	answer, err := http.ReadResponse(from, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1024))
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return tunnel{conn, from}, nil
}

// tunnel is a connection of whose bytes some may have been read already.
type tunnel struct {
	net.Conn
	from *bufio.Reader
}

func (t tunnel) Read(p []byte) (int, error) { return t.from.Read(p) }
