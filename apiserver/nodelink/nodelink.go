// Package nodelink serves the subresources that something outside of the API server answers: log, exec,
// attach and portforward of pods, which go on to the node agent over HTTPS, on the kubelet's paths, with
// a client certificate that agents obey; and proxy of pods, services and nodes. Redirects are refused: an agent could otherwise
// send the API server anywhere (CVE-2018-1002105, CVE-2020-8559).
package nodelink

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// Link reaches the agents of the cluster's nodes.
type Link struct {
	pods      rest.Getter
	nodes     Nodes
	claims    claim.Cluster
	port      uint16            // of the API server
	outwards  http.RoundTripper // to pods and endpoints
	transport http.RoundTripper // to agents
}

// Nodes is the storage of nodes.
type Nodes interface {
	rest.Getter
	rest.Lister
}

// New returns a link that finds pods and nodes in the given storages, and calls agents as peer.Agents does. What belongs to the
// cluster is known, and the API server answers at port.
func New(pods rest.Getter, nodes Nodes, as *pki.Source, roots *x509.CertPool, known claim.Cluster, port uint16) *Link {
	l := &Link{pods: pods, nodes: nodes, claims: known, port: port}
	l.outwards = l.unchecked()
	l.transport = peer.Agents(as, roots, func(ctx context.Context, name string) (netip.AddrPort, error) {
		n, err := l.node(ctx, name)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return peer.Agent(n)
	})
	return l
}

// Storage is the subresources by name, ready to be added to the core group. to tells where requests to a
// Service may be relayed to.
func (l *Link) Storage(to Resolver) map[string]rest.Storage {
	return map[string]rest.Storage{
		"pods/log":         logStream{l},
		"pods/exec":        l.exec(),
		"pods/attach":      l.attach(),
		"pods/portforward": l.portForward(),
		"pods/proxy":       l.podProxy(),
		"services/proxy":   l.serviceProxy(to),
		"nodes/proxy":      l.nodeProxy(),
	}
}

// pod reads the pod a request names.
func (l *Link) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	obj, err := l.pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("pod %s is stored as %T", name, obj))
	}
	return pod, nil
}

// agent is the base URL of the agent that runs pod.
func (l *Link) agent(ctx context.Context, pod *corev1.Pod) (*url.URL, error) {
	if pod.Spec.NodeName == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	n, err := l.node(ctx, pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	return agentURL(n)
}

// node reads a node.
func (l *Link) node(ctx context.Context, name string) (*corev1.Node, error) {
	obj, err := l.nodes.Get(genericapirequest.WithNamespace(ctx, ""), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	n, ok := obj.(*corev1.Node)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("node %s is stored as %T", name, obj))
	}
	return n, nil
}

// agentURL is the base URL of the agent of a node, for the transport to agents.
func agentURL(n *corev1.Node) (*url.URL, error) {
	if _, err := peer.Agent(n); err != nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("node %s cannot be asked: %v", n.Name, err))
	}
	return &url.URL{Scheme: "https", Host: peer.Host(n)}, nil
}
