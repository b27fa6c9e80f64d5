// Package nodelink serves the subresources that something outside of the API server answers: log, exec,
// attach and portforward of pods, which go on to the node agent over HTTPS, on the kubelet's paths, with
// the API server's own client certificate; and proxy of pods, services and nodes, which dials them. Redirects are refused: an agent could otherwise send the API server's
// credentials anywhere (CVE-2018-1002105, CVE-2020-8559).
package nodelink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// dialTimeout bounds how long an unreachable node holds a request.
const dialTimeout = 10 * time.Second

// Link reaches the agents of the cluster's nodes.
type Link struct {
	pods      rest.Getter
	nodes     rest.Getter
	transport http.RoundTripper
}

// New returns a link that finds pods and nodes in the given storages, shows cert to agents and trusts
// agents whose certificate one of roots signed.
func New(pods, nodes rest.Getter, cert tls.Certificate, roots *x509.CertPool) *Link {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &Link{pods: pods, nodes: nodes, transport: &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: dialTimeout,
		// An agent's certificate names the node and its addresses; the address dialled is checked.
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     90 * time.Second,
		// Streams are upgraded connections, which HTTP/2 does not have.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}
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
	obj, err := l.nodes.Get(genericapirequest.WithNamespace(ctx, ""), pod.Spec.NodeName, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	node, ok := obj.(*corev1.Node)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("node %s is stored as %T", pod.Spec.NodeName, obj))
	}
	return agentURL(node)
}

// agentURL is where the agent of node listens: its internal address, or else its host name.
func agentURL(node *corev1.Node) (*url.URL, error) {
	port := node.Status.DaemonEndpoints.KubeletEndpoint.Port
	if port == 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("node %s has not published the port of its agent yet", node.Name))
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeHostName} {
		for _, a := range node.Status.Addresses {
			if a.Type == kind {
				return &url.URL{Scheme: "https", Host: net.JoinHostPort(a.Address, strconv.Itoa(int(port)))}, nil
			}
		}
	}
	return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("node %s has not published an address yet", node.Name))
}
