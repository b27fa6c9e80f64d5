package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api/probe"
)

// Target is where a container is probed.
type Target struct {
	IP    string // of the pod; the node's for hostNetwork
	Ports []corev1.ContainerPort
	// Exec runs a command in the container and returns its output; err is set when it could not be run.
	Exec func(ctx context.Context, command []string, timeout time.Duration) (output string, code int32, err error)
}

// New makes the check that a handler describes.
func New(h *corev1.ProbeHandler, t Target, timeout time.Duration) (Check, error) {
	switch {
	case h.HTTPGet != nil:
		return HTTP(h.HTTPGet, t)
	case h.TCPSocket != nil:
		port, err := t.port(h.TCPSocket.Port)
		if err != nil {
			return nil, err
		}
		return TCP(net.JoinHostPort(either(h.TCPSocket.Host, t.IP), port)), nil
	case h.GRPC != nil:
		service := ""
		if h.GRPC.Service != nil {
			service = *h.GRPC.Service
		}
		return GRPC(net.JoinHostPort(t.IP, strconv.Itoa(int(h.GRPC.Port))), service, timeout), nil
	case h.Exec != nil:
		return execCheck(h.Exec.Command, t, timeout), nil
	}
	return nil, errors.New("missing probe handler")
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// port resolves a number or the name of a container port (rule R4).
func (t Target) port(p intstr.IntOrString) (string, error) {
	if p.Type == intstr.Int {
		return strconv.Itoa(p.IntValue()), nil
	}
	for i := range t.Ports {
		if t.Ports[i].Name == p.StrVal {
			return strconv.Itoa(int(t.Ports[i].ContainerPort)), nil
		}
	}
	if n, err := strconv.Atoi(p.StrVal); err == nil {
		return strconv.Itoa(n), nil
	}
	return "", fmt.Errorf("couldn't find port: %q", p.StrVal)
}

// HostPort is where an HTTP request goes; the port is empty when its name means none.
func (t Target) HostPort(h *corev1.HTTPGetAction) string {
	port, _ := t.port(h.Port)
	return net.JoinHostPort(either(h.Host, t.IP), port)
}

// TCP checks that a connection can be made. It is closed by a reset, which leaves no TIME_WAIT behind (rule R8).
func TCP(address string) Check {
	return func(ctx context.Context) Answer {
		conn, err := dial(ctx, address)
		if err != nil {
			return failed(err)
		}
		conn.Close()
		return Answer{}
	}
}

// dial makes a connection that ends with a reset. An address in numbers is not looked up.
func dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
			})
		},
	}
	if to, err := netip.ParseAddrPort(address); err == nil {
		conn, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
		if err != nil { // a nil connection in an interface would be none; the source is not chosen, and not told as ":0"
			var failure *net.OpError
			if errors.As(err, &failure) {
				failure.Source = nil
			}
			return nil, err
		}
		return conn, nil
	}
	return d.DialContext(ctx, "tcp", address)
}

func failed(err error) Answer {
	return Answer{Outcome: probe.Failure, Text: err.Error(), Refused: errors.Is(err, syscall.ECONNREFUSED)}
}

// GRPC checks with the standard health service (rule R10).
func GRPC(address, service string, timeout time.Duration) Check {
	return func(ctx context.Context) Answer {
		var refused bool
		connect := func(ctx context.Context, to string) (net.Conn, error) {
			conn, err := dial(ctx, to)
			refused = errors.Is(err, syscall.ECONNREFUSED)
			return conn, err
		}
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(connect), grpc.WithNoProxy(), grpc.WithUserAgent(userAgent))
		if err != nil {
			return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("error: failed to connect service at %q: %v", address, err)}
		}
		defer conn.Close()
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		switch {
		case err == nil && answer.Status == grpc_health_v1.HealthCheckResponse_SERVING:
			return Answer{Text: "service healthy"}
		case err == nil:
			return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("service unhealthy (responded with %q)", answer.Status)}
		case refused:
			return Answer{Outcome: probe.Failure, Refused: true, Text: fmt.Sprintf("timeout: failed to connect service %q within %v: connection refused", address, timeout)}
		}
		switch status.Code(err) {
		case codes.Unimplemented:
			return Answer{Outcome: probe.Failure, Text: "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + status.Convert(err).Message()}
		case codes.DeadlineExceeded:
			return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)}
		}
		return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("error: health rpc probe failed: %v", err)}
	}
}

// execCheck runs a command in the container: 0 is a success, anything else and a timeout are failures (rule R9).
func execCheck(command []string, t Target, timeout time.Duration) Check {
	return func(ctx context.Context) Answer {
		output, code, err := t.Exec(ctx, command, timeout)
		if len(output) > maxBody {
			output = output[:maxBody]
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return Answer{Outcome: probe.Failure, Text: fmt.Sprintf("command timed out: %q timed out after %v", command, timeout)}
		case err != nil:
			return Answer{Outcome: probe.Unknown, Text: err.Error()}
		case code != 0:
			return Answer{Outcome: probe.Failure, Text: output}
		}
		return Answer{Text: output}
	}
}
