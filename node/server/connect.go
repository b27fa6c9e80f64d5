package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"fairlead.dev/fairlead/api/claim"
)

// connectTimeout bounds how long an address that does not answer holds a request.
const connectTimeout = 10 * time.Second

// serveConnect connects the control plane to an address as this node reaches it (HTTP's CONNECT), and carries the bytes.
func (s *Server) serveConnect(w http.ResponseWriter, r *http.Request) {
	to, err := netip.ParseAddrPort(r.RequestURI)
	if err == nil {
		err = s.mayConnect(to.Addr())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	there, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(r.Context(), "tcp", to.String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		writeError(w, err)
		return
	}
	defer here.Close()
	if err := here.SetDeadline(time.Time{}); err != nil {
		return
	}
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go relay(there, buffered, done)
	go relay(here, there, done)
	<-done
	<-done
}

// relay copies until the end, and hands the end on. What cannot be handed on ends both ways.
func relay(to net.Conn, from io.Reader, done chan<- struct{}) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.Close()
		if c, ok := from.(io.Closer); ok {
			c.Close()
		}
	}
	done <- struct{}{}
}

// mayConnect refuses what is not this node's to reach: in the cluster's ranges its own pods only, and never what is nobody's
// address outside of one host.
func (s *Server) mayConnect(ip netip.Addr) error {
	if err := claim.Usable(ip); err != nil {
		return err
	}
	inCluster := slices.ContainsFunc(s.cfg.ClusterRanges, func(r netip.Prefix) bool { return r.Contains(ip.Unmap()) })
	if inCluster && !s.cfg.Pods.Has(ip.Unmap()) {
		return fmt.Errorf("no pod of node %s has the address %s", s.cfg.Node, ip)
	}
	return nil
}
