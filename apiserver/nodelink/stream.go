package nodelink

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/httpstream/wsstream"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/registry/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
)

var (
	_ rest.Connecter = exec{}
	_ rest.Connecter = attach{}
	_ rest.Connecter = portForward{}
)

// connect is what the three streams have in common.
type connect struct{}

// New is part of rest.Storage.
func (connect) New() runtime.Object { return &corev1.Pod{} }

// Destroy is part of rest.Storage.
func (connect) Destroy() {}

// ConnectMethods are GET for WebSocket clients and POST for SPDY ones.
func (connect) ConnectMethods() []string { return []string{http.MethodGet, http.MethodPost} }

// exec serves pods/exec: a command in a container.
type exec struct{ link *Link }

// New is part of rest.Storage.
func (exec) New() runtime.Object { return &corev1.PodExecOptions{} }

// Destroy is part of rest.Storage.
func (exec) Destroy() {}

// ConnectMethods is part of rest.Connecter.
func (exec) ConnectMethods() []string { return connect{}.ConnectMethods() }

// NewConnectOptions is the query of the request.
func (exec) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.PodExecOptions{}, false, ""
}

// Connect runs the command.
func (e exec) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodExecOptions)
	if !ok {
		return nil, apierrors.NewBadRequest("options of an exec request expected")
	}
	if len(o.Command) == 0 {
		return nil, apierrors.NewBadRequest("you must specify at least one command")
	}
	streams := translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}
	query := streamQuery(streams)
	query["command"] = o.Command
	return e.link.remoteCommand(ctx, name, "exec", o.Container, streams, query, responder)
}

// attach serves pods/attach: the streams of a container's main process.
type attach struct{ link *Link }

// New is part of rest.Storage.
func (attach) New() runtime.Object { return &corev1.PodAttachOptions{} }

// Destroy is part of rest.Storage.
func (attach) Destroy() {}

// ConnectMethods is part of rest.Connecter.
func (attach) ConnectMethods() []string { return connect{}.ConnectMethods() }

// NewConnectOptions is the query of the request.
func (attach) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.PodAttachOptions{}, false, ""
}

// Connect attaches to the container.
func (a attach) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	o, ok := options.(*corev1.PodAttachOptions)
	if !ok {
		return nil, apierrors.NewBadRequest("options of an attach request expected")
	}
	streams := translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}
	return a.link.remoteCommand(ctx, name, "attach", o.Container, streams, streamQuery(streams), responder)
}

// portForward serves pods/portforward: connections to ports of a pod.
type portForward struct{ link *Link }

// New is part of rest.Storage.
func (portForward) New() runtime.Object { return &corev1.PodPortForwardOptions{} }

// Destroy is part of rest.Storage.
func (portForward) Destroy() {}

// ConnectMethods is part of rest.Connecter.
func (portForward) ConnectMethods() []string { return connect{}.ConnectMethods() }

// NewConnectOptions is the query of the request.
func (portForward) NewConnectOptions() (runtime.Object, bool, string) {
	return &corev1.PodPortForwardOptions{}, false, ""
}

// Connect opens the stream that carries the connections.
func (p portForward) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	if _, ok := options.(*corev1.PodPortForwardOptions); !ok {
		return nil, apierrors.NewBadRequest("options of a port-forward request expected")
	}
	pod, err := p.link.pod(ctx, name)
	if err != nil {
		return nil, err
	}
	location, err := p.link.agent(ctx, pod)
	if err != nil {
		return nil, err
	}
	location.Path = fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name)
	upgrade := p.link.upgrade(location, responder)
	return translator.NewTranslatingHandler(upgrade, translator.NewTunnelingHandler(upgrade), wsstream.IsWebSocketRequestWithTunnelingProtocol), nil
}

// remoteCommand proxies exec or attach. A SPDY client is passed through; a WebSocket client that knows the
// close protocol (v5.channel.k8s.io) is translated, because agents speak only SPDY (KEP-4006).
func (l *Link) remoteCommand(ctx context.Context, name, verb, asked string, streams translator.Options, query url.Values, responder rest.Responder) (http.Handler, error) {
	if !streams.Stdin && !streams.Stdout && !streams.Stderr {
		return nil, apierrors.NewBadRequest("you must specify at least one of stdin, stdout, stderr")
	}
	pod, err := l.pod(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := container(pod, asked)
	if err != nil {
		return nil, err
	}
	location, err := l.agent(ctx, pod)
	if err != nil {
		return nil, err
	}
	location.Path = fmt.Sprintf("/%s/%s/%s/%s", verb, pod.Namespace, pod.Name, c)
	location.RawQuery = query.Encode()
	return translator.NewTranslatingHandler(l.upgrade(location, responder),
		translator.NewStreamTranslatorHandler(location, l.transport, 0, streams), wsstream.IsWebSocketRequestWithStreamCloseProtocol), nil
}

// upgrade passes a request through to location once the agent has agreed to upgrade the connection.
func (l *Link) upgrade(location *url.URL, responder rest.Responder) http.Handler {
	h := proxy.NewUpgradeAwareHandler(location, l.transport, false, true, proxy.NewErrorResponder(responder))
	h.RejectForwardingRedirects = true
	return h
}

// streamQuery is the query of the kubelet's exec and attach paths. With a terminal there is no separate
// stderr.
func streamQuery(o translator.Options) url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"input": o.Stdin, "output": o.Stdout, "error": o.Stderr && !o.Tty, "tty": o.Tty} {
		if on {
			q.Set(name, "1")
		}
	}
	return q
}
