package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
)

// newHandler returns the pages of the server called hostname.
func newHandler(hostname, version string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "iKubernetes demoapp %s !! ClientIP: %s, ServerName: %s, ServerIP: %s!\n",
			version, clientIP(r), hostname, serverIP(r))
	})
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "ServerName: %s\n", hostname)
	})
	mux.HandleFunc("/user-agent", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "User-Agent: %s\n", r.UserAgent())
	})
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, version)
	})
	mux.Handle("/livez", newSwitch("livez", http.StatusVariantAlsoNegotiates))
	mux.Handle("/readyz", newSwitch("readyz", http.StatusInsufficientStorage))
	return mux
}

// healthSwitch is a health endpoint: GET tells its state, and a POST of the
// form NAME=STATE sets it. "OK" is healthy, everything else is not.
type healthSwitch struct {
	name    string
	failing int // status code while unhealthy
	state   atomic.Pointer[string]
}

func newSwitch(name string, failing int) *healthSwitch {
	s := &healthSwitch{name: name, failing: failing}
	ok := "OK"
	s.state.Store(&ok)
	return s
}

func (s *healthSwitch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		if state := r.PostFormValue(s.name); state != "" {
			s.state.Store(&state)
			return
		}
		http.Error(w, fmt.Sprintf("the form has no field %[1]s: send %[1]s=OK or %[1]s=FAIL", s.name), http.StatusBadRequest)
		return
	}
	state := *s.state.Load()
	if state != "OK" {
		w.WriteHeader(s.failing)
	}
	fmt.Fprint(w, state)
}

// clientIP is the address the connection came from, IPv4 without a prefix for IPv6.
func clientIP(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return peer.Addr().Unmap().String()
}

// serverIP is the address the connection was accepted on. A connection over
// the loopback (a port-forward) says nothing about the pod, so then it is the
// first address of another interface.
func serverIP(r *http.Request) string {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return ""
	}
	addr := local.AddrPort().Addr().Unmap()
	if !addr.IsLoopback() {
		return addr.String()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return addr.String()
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			return p.Addr().String()
		}
	}
	return addr.String()
}
