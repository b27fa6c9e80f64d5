package nodelink

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/registry/rest"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// stream is the storage of one of pods/exec, pods/attach and pods/portforward: connecting to it is all that
// can be done with it.
type stream struct {
	options func() runtime.Object // an empty query
	open    func(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error)
}

var _ rest.Connecter = stream{}

// New is part of rest.Storage.
func (s stream) New() runtime.Object { return s.options() }

// Destroy is part of rest.Storage.
func (stream) Destroy() {}

// ConnectMethods are GET for WebSocket clients and POST for SPDY ones.
func (stream) ConnectMethods() []string { return []string{http.MethodGet, http.MethodPost} }

// NewConnectOptions is the query of a request.
func (s stream) NewConnectOptions() (runtime.Object, bool, string) { return s.options(), false, "" }

// Connect returns the handler that carries the streams.
func (s stream) Connect(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
	return s.open(ctx, name, options, responder)
}

// exec runs a command in a container.
func (l *Link) exec() stream {
	return stream{
		options: func() runtime.Object { return &corev1.PodExecOptions{} },
		open: func(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
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
			return l.remoteCommand(ctx, name, "exec", o.Container, streams, query, responder)
		},
	}
}

// attach joins the streams of a container's main process.
func (l *Link) attach() stream {
	return stream{
		options: func() runtime.Object { return &corev1.PodAttachOptions{} },
		open: func(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
			o, ok := options.(*corev1.PodAttachOptions)
			if !ok {
				return nil, apierrors.NewBadRequest("options of an attach request expected")
			}
			streams := translator.Options{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}
			return l.remoteCommand(ctx, name, "attach", o.Container, streams, streamQuery(streams), responder)
		},
	}
}

// portForward carries connections to ports of a pod. A WebSocket client either tunnels SPDY frames through its
// socket (KEP-4006), which are unpacked here, or names the ports in its query and multiplexes two channels for each
// (v4.channel.k8s.io), which the container runtime does.
func (l *Link) portForward() stream {
	return stream{
		options: func() runtime.Object { return &corev1.PodPortForwardOptions{} },
		open: func(ctx context.Context, name string, options runtime.Object, responder rest.Responder) (http.Handler, error) {
			pod, err := l.pod(ctx, name)
			if err != nil {
				return nil, err
			}
			location, err := l.agent(ctx, pod)
			if err != nil {
				return nil, err
			}
			location.Path = fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name)
			location.RawQuery = portQuery(options).Encode()
			upgrade := l.upgrade(location, responder)
			return translator.NewTranslatingHandler(upgrade, translator.NewTunnelingHandler(upgrade), wsstream.IsWebSocketRequestWithTunnelingProtocol), nil
		},
	}
}

// remoteCommand proxies exec or attach. A SPDY client is passed through; a WebSocket client that knows the
// close protocol (v5.channel.k8s.io) is translated.
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

// portQuery names the ports of a WebSocket client that knows no frames of SPDY.
func portQuery(options runtime.Object) url.Values {
	q := url.Values{}
	if o, ok := options.(*corev1.PodPortForwardOptions); ok {
		for _, port := range o.Ports {
			q.Add("port", strconv.Itoa(int(port)))
		}
	}
	return q
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
