package nodelink

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api"
)

// relay is the storage of pods/proxy, services/proxy and nodes/proxy: any HTTP request goes on to the
// object, under the path after "proxy".
type relay struct {
	options func() runtime.Object
	target  func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error)
}

var _ rest.Connecter = relay{}

// New is part of rest.Storage.
func (r relay) New() runtime.Object { return r.options() }

// Destroy is part of rest.Storage.
func (relay) Destroy() {}

// ConnectMethods are all methods a target may want.
func (relay) ConnectMethods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions}
}

// NewConnectOptions says that the rest of the path is part of the options.
func (r relay) NewConnectOptions() (runtime.Object, bool, string) { return r.options(), true, "path" }

// Connect relays the request.
func (r relay) Connect(ctx context.Context, id string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	location, transport, err := r.target(ctx, id)
	if err != nil {
		return nil, err
	}
	// Without a path at all the answer is a redirect to "proxy/", which relative links need.
	location.Path = utilnet.JoinPreservingTrailingSlash(location.Path, pathOf(options))
	h := proxy.NewUpgradeAwareHandler(location, transport, true, false, proxy.NewErrorResponder(responder))
	h.RejectForwardingRedirects = true
	return h, nil
}

func pathOf(options runtime.Object) string {
	switch o := options.(type) {
	case *corev1.PodProxyOptions:
		return o.Path
	case *corev1.ServiceProxyOptions:
		return o.Path
	case *corev1.NodeProxyOptions:
		return o.Path
	}
	return ""
}

// unchecked reaches pods and the endpoints of Services. What they serve under https has a certificate this
// server cannot know, so it is not checked (as upstream).
func (l *Link) unchecked() http.RoundTripper {
	return &http.Transport{
		DialContext:         l.Dial,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		IdleConnTimeout:     30 * time.Second,
	}
}

// podProxy relays to SCHEME:POD:PORT; without a port it is the first one the pod declares.
func (l *Link) podProxy() relay {
	return relay{
		options: func() runtime.Object { return &corev1.PodProxyOptions{} },
		target: func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
			scheme, name, port, valid := utilnet.SplitSchemeNamePort(id)
			if !valid {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", id))
			}
			pod, err := l.pod(ctx, name)
			if err != nil {
				return nil, nil, err
			}
			port, err = podPort(pod, port)
			if err != nil {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s: %v", name, err))
			}
			location, err := outside(scheme, pod.Status.PodIP, port)
			if err != nil {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s: %v", name, err))
			}
			return location, l.outwards, nil
		},
	}
}

// podPort is the number of the port meant by asked: a number, the name of a port that a container declares, or nothing for
// the first one declared; a pod that declares none is asked at the scheme's own.
func podPort(pod *corev1.Pod, asked string) (string, error) {
	if asked != "" {
		if n, err := strconv.ParseUint(asked, 10, 16); err == nil && n > 0 {
			return strconv.FormatUint(n, 10), nil
		}
	}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, p := range c.Ports {
			if asked == "" || p.Name == asked {
				return strconv.Itoa(int(p.ContainerPort)), nil
			}
		}
	}
	if asked == "" {
		return "", nil
	}
	return "", fmt.Errorf("no port %q", asked)
}

// serviceProxy relays to a ready endpoint of SCHEME:SERVICE:PORT, where PORT is a name or a number of the
// Service's ports and may be left out when there is only one.
func (l *Link) serviceProxy(to Resolver) relay {
	return relay{
		options: func() runtime.Object { return &corev1.ServiceProxyOptions{} },
		target: func(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
			scheme, name, asked, valid := utilnet.SplitSchemeNamePort(id)
			if !valid {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", id))
			}
			at, err := to.endpoint(ctx, name, asked)
			if err != nil {
				return nil, nil, err
			}
			location, err := outside(scheme, at.Addr().String(), strconv.Itoa(int(at.Port())))
			if err != nil {
				return nil, nil, apierrors.NewServiceUnavailable(fmt.Sprintf("service %s: %v", name, err))
			}
			return location, l.outwards, nil
		},
	}
}

// servicePort is the name of the port meant by asked, a name, a number, or nothing.
func servicePort(svc *corev1.Service, asked string) (string, error) {
	for _, p := range svc.Spec.Ports {
		if asked == "" && len(svc.Spec.Ports) == 1 || asked == p.Name || asked == strconv.Itoa(int(p.Port)) {
			return p.Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %q found for service %q", asked, svc.Name))
}

// readyEndpoint picks one of the ready endpoints of a port by pick, which returns a number below its argument.
func readyEndpoint(list []discoveryv1.EndpointSlice, port string, pick func(int) int) (netip.AddrPort, bool) {
	var found []netip.AddrPort
	for _, s := range list {
		for _, p := range s.Ports {
			if p.Port == nil || (p.Name == nil && port != "") || (p.Name != nil && *p.Name != port) {
				continue
			}
			for _, e := range s.Endpoints {
				if !api.EndpointReady(&e.Conditions) || len(e.Addresses) == 0 {
					continue
				}
				if addr, err := netip.ParseAddr(e.Addresses[0]); err == nil {
					found = append(found, netip.AddrPortFrom(addr, uint16(*p.Port)))
				}
			}
		}
	}
	if len(found) == 0 {
		return netip.AddrPort{}, false
	}
	return found[pick(len(found))], true
}

// nodeProxy relays to the agent of a node, with the API server's certificate.
func (l *Link) nodeProxy() relay {
	return relay{
		options: func() runtime.Object { return &corev1.NodeProxyOptions{} },
		target: func(ctx context.Context, name string) (*url.URL, http.RoundTripper, error) {
			n, err := l.node(ctx, name)
			if err != nil {
				return nil, nil, err
			}
			location, err := agentURL(n)
			return location, l.transport, err
		},
	}
}

// outside is the URL of an address that is really elsewhere. Loopback and link-local addresses are this
// host's own, or a cloud's metadata service: whoever may write a pod's status must not reach those through
// the API server (upstream's IsProxyableIP).
func outside(scheme, addr, port string) (*url.URL, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: not allocated yet", addr)
	}
	if a = a.Unmap(); !a.IsGlobalUnicast() {
		return nil, fmt.Errorf("address not allowed: %s", a)
	}
	if scheme == "" {
		scheme = "http"
	}
	host := a.String()
	if port != "" {
		host = net.JoinHostPort(host, port)
	} else if a.Is6() {
		host = "[" + host + "]"
	}
	return &url.URL{Scheme: scheme, Host: host}, nil
}
