package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/host/netns"
)

// Firewall is what has to pass the host's firewall: connections from a range to
// ports of this host, and within the range through this host.
type Firewall struct {
	From    netip.Prefix // of pods, or of a lab's nodes
	Ports   []Port       // of this host; only networks and numbers count
	Forward bool
}

// passes is how long a connection may take from one namespace of this host to another, a lost packet included, and
// carries how long a link may take to work.
const (
	passes  = 2500 * time.Millisecond
	carries = 3 * time.Second
)

// checkFirewall sends packets as pods will, from a network namespace of its own
// to this host and through it to another, and names the rules that stop them.
// Rules cannot be judged by reading them alone: which match is for the kernel
// to say.
func checkFirewall(ctx context.Context, req Requirements) []Finding {
	var found []Finding
	for _, f := range req.Firewalls {
		found = append(found, f.check(ctx))
	}
	return found
}

func (f Firewall) check(ctx context.Context) Finding {
	name := "firewall"
	if f.From.Addr().Is6() {
		name = "firewall, IPv6"
	}
	t, err := newTrial(f.From)
	if err != nil {
		return warn(name, "no packet could be sent to try it: %v", err)
	}
	defer t.close()
	for _, p := range f.Ports {
		if !t.reaches(p) {
			return fail(name, "connections from %s to port %d/%s of this host (%s) do not pass: %s", f.From, p.Addr.Port(), p.Network, p.For, remedy(ctx, "input", f.From))
		}
	}
	if f.Forward && !t.crosses() {
		return fail(name, "connections within %s do not pass through this host: %s", f.From, remedy(ctx, "forward", f.From))
	}
	return pass(name, "packets from %s pass", f.From)
}

// trial is two network namespaces with an address each, and the host's ends of
// the links to them. They are as if of pods, and end with the process.
type trial struct {
	gateway netip.Addr
	ends    [2]*trialEnd
}

type trialEnd struct {
	addr  netip.Addr
	space *os.File
	link  string // on the host
}

func newTrial(in netip.Prefix) (*trial, error) {
	last := lastOf(in).Prev() // the last one of all may be for broadcasts
	t := &trial{gateway: last.Prev().Prev()}
	for i, addr := range []netip.Addr{last, last.Prev()} {
		e := &trialEnd{addr: addr, link: fmt.Sprintf("flcheck%d%c", os.Getpid(), 'a'+i)}
		t.ends[i] = e
		if err := e.connect(t.gateway); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// connect makes the namespace and its link, as the plugin that makes pods' does.
func (e *trialEnd) connect(gateway netip.Addr) (err error) {
	if e.space, err = newSpace(); err != nil {
		return err
	}
	peer := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: e.link}, PeerName: "eth0", PeerNamespace: netlink.NsFd(e.space.Fd())}
	if err := netlink.LinkAdd(peer); err != nil {
		return fmt.Errorf("link %s: %w", e.link, err)
	}
	link, err := netlink.LinkByName(e.link)
	if err != nil {
		return fmt.Errorf("link %s: %w", e.link, err)
	}
	if gateway.Is4() { // whether or not the host forwards yet
		if err := writeSysctl("net/ipv4/conf/"+e.link+"/forwarding", "1"); err != nil {
			return err
		}
	}
	if err := configure(link, gateway, e.addr); err != nil {
		return err
	}
	err = netns.Do(e.file(), func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := configure(eth0, e.addr, gateway); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: gateway.AsSlice(), Dst: nil})
	})
	return errors.Join(err, awaitCarrier(e.link))
}

// awaitCarrier returns when the kernel has seen that both ends of a link are up. Until then packets are lost.
func awaitCarrier(name string) error {
	for deadline := time.Now().Add(carries); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil || link.Attrs().OperState == netlink.OperUp {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("link %s does not come up", name)
		}
	}
}

// configure gives a link an address, and a route to the one at its other end.
func configure(link netlink.Link, own, other netip.Addr) error {
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(own, own.BitLen())), Flags: unix.IFA_F_NODAD}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", own, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(other, other.BitLen())), Scope: netlink.SCOPE_LINK})
}

// newSpace is a network namespace that lasts as long as the file is open.
func newSpace() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, fmt.Errorf("network namespace: %w", err)}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		made <- result{file, err}
	}()
	r := <-made
	return r.file, r.err
}

func (e *trialEnd) file() string { return fmt.Sprintf("/proc/self/fd/%d", e.space.Fd()) }

func (t *trial) close() {
	for _, e := range t.ends {
		if e == nil || e.space == nil {
			continue
		}
		if link, err := netlink.LinkByName(e.link); err == nil {
			_ = netlink.LinkDel(link) // it ends with the namespace anyhow
		}
		_ = e.space.Close()
	}
}

// reaches tells whether a pod gets an answer at a port of this host. Where
// somebody listens on all addresses already, that one answers.
func (t *trial) reaches(p Port) bool {
	at := netip.AddrPortFrom(t.gateway, p.Addr.Port())
	stop, err := answer(p.Network, at)
	if err == nil {
		defer stop()
	} else if !errors.Is(err, unix.EADDRINUSE) || p.Network == "udp" {
		return true // not to be tried
	}
	return netns.Do(t.ends[0].file(), func() error { return call(p.Network, at) }) == nil
}

// crosses tells whether one pod reaches another through this host.
func (t *trial) crosses() bool {
	if t.gateway.Is6() {
		if on, err := readSysctl("net/ipv6/conf/all/forwarding"); err != nil || on != "1" {
			return true // not to be tried: there is no switch for one link
		}
	}
	at := netip.AddrPortFrom(t.ends[1].addr, 8080)
	var stop func()
	err := netns.Do(t.ends[1].file(), func() (err error) { stop, err = answer("tcp", at); return err })
	if err != nil {
		return true
	}
	defer stop()
	return netns.Do(t.ends[0].file(), func() error { return call("tcp", at) }) == nil
}

// answer sends a byte to whoever calls at an address.
func answer(network string, at netip.AddrPort) (stop func(), err error) {
	if network == "udp" {
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
		if err != nil {
			return nil, err
		}
		go func() {
			room := make([]byte, 1)
			for {
				_, from, err := conn.ReadFromUDPAddrPort(room)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				_, _ = conn.WriteToUDPAddrPort(room, from)
			}
		}()
		return func() { _ = conn.Close() }, nil
	}
	l, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil // the kernel takes a call by itself
}

// call connects, and over UDP waits for an answer.
func call(network string, to netip.AddrPort) error {
	conn, err := net.DialTimeout(network, to.String(), passes)
	if err != nil || network == "tcp" {
		return errors.Join(err, closeIf(conn))
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(passes)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func closeIf(c io.Closer) error {
	if c == nil || c == (net.Conn)(nil) {
		return nil
	}
	return c.Close()
}
