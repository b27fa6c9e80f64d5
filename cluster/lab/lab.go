// Package lab is a cluster of several nodes on one host: each node is a network namespace of its own, joined
// to the others by a bridge that lives in one more namespace, the fabric.
//
//	host ── fl-NAME ─┬─ fabric: br0 ─┬─ node1: eth0 .11 ::11
//	        .1 ::1   │               ├─ node2: eth0 .12 ::12
//
// The host has one link into the fabric and nothing else: no rule, no forwarding, no route but that of the
// link. Traffic between nodes never passes the host's own network, so the host's firewall and the lab do not
// see each other, and several labs live side by side. A node knows no way out of its segment; the API
// server listens in the fabric, at .2, so nodes reach nothing of the host (nft.Config.Host), while the host
// reaches every node.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"

	"fairlead.dev/fairlead/host/netns"
)

// Lab is the network of one cluster on this host.
type Lab struct {
	Name    string         // the cluster's
	Dir     string         // where the namespaces' files live
	Subnets []netip.Prefix // the nodes' /24, /64 or both, the primary family first
}

// Node is one node of a lab.
type Node struct {
	Name  string
	Addrs []netip.Addr // in the order of the lab's subnets
	Netns string       // file its network namespace is bound to
}

// Host are the addresses of the host inside the lab.
func (l Lab) Host() []netip.Addr { return l.addrs(1) }

// API are the addresses that the API server listens on. They are the fabric's, so the lab takes no port of the host, whatever
// listens there.
func (l Lab) API() []netip.Addr { return l.addrs(2) }

// Listen opens a socket inside the fabric.
func (l Lab) Listen(ctx context.Context, network, address string) (socket net.Listener, err error) {
	err = netns.Do(l.fabric(), func() error {
		socket, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return socket, err
}

// Nodes lists the first n nodes.
func (l Lab) Nodes(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		name := "node" + strconv.Itoa(i+1)
		nodes[i] = Node{Name: name, Addrs: l.addrs(11 + i), Netns: filepath.Join(l.Dir, name)}
	}
	return nodes
}

// addrs are the addresses .N and ::N of the lab's subnets.
func (l Lab) addrs(n int) []netip.Addr {
	all := make([]netip.Addr, len(l.Subnets))
	for i, s := range l.Subnets {
		all[i] = member(s, n)
	}
	return all
}

func (l Lab) fabric() string { return filepath.Join(l.Dir, "fabric") }

// Link is the name of the lab's only link on the host.
func (l Lab) Link() string { return "fl-" + l.Name }

// Exists reports whether the lab has been made and not removed since.
func (l Lab) Exists() bool { return netns.Bound(l.fabric()) }

// Create builds the lab with n nodes; what is there already is kept. A lab of the same name in another directory is
// refused.
func (l Lab) Create(n int) error {
	if _, err := netlink.LinkByName(l.Link()); err == nil && !netns.Bound(l.fabric()) {
		return fmt.Errorf("lab: link %s is there already: another lab has the name %q; take that one down or choose another --name", l.Link(), l.Name)
	}
	if err := netns.Create(l.fabric()); err != nil {
		return err
	}
	fabric, err := open(l.fabric())
	if err != nil {
		return err
	}
	defer fabric.close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", HardwareAddr: hardware(l.API()[0])}}
	if err := ignoreExists(fabric.LinkAdd(bridge)); err != nil {
		return fmt.Errorf("lab: bridge: %w", err)
	}
	if err := l.serveOn(fabric, "br0"); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := l.connectHost(fabric); err != nil {
		return fmt.Errorf("lab: link %s: %w", l.Link(), err)
	}
	for _, node := range l.Nodes(n) {
		if err := l.connect(fabric, node); err != nil {
			return fmt.Errorf("lab: %s: %w", node.Name, err)
		}
	}
	return nil
}

// hardware is the bridge's own link address. Left to itself a bridge has the lowest of its ports', and another whenever such a port
// comes or goes: who knows the API server by the former cannot reach it until that is forgotten.
func hardware(addr netip.Addr) net.HardwareAddr {
	a := addr.As16()
	return net.HardwareAddr{0x02, 0xfb, a[12], a[13], a[14], a[15]}
}

// serveOn gives the fabric's bridge the addresses of the API server.
func (l Lab) serveOn(fabric *space, bridge string) error {
	if l.six() {
		if err := netns.Do(l.fabric(), settle); err != nil {
			return err
		}
	}
	link, err := fabric.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("link %s: %w", bridge, err)
	}
	for i, addr := range l.API() {
		if err := fabric.AddrReplace(link, address(addr, l.Subnets[i])); err != nil {
			return fmt.Errorf("link %s: %w", bridge, err)
		}
	}
	return errors.Join(fabric.up("lo", ""), fabric.up(bridge, ""))
}

// connectHost makes the veth pair fl-NAME (host) - host (fabric).
func (l Lab) connectHost(fabric *space) error {
	if _, err := netlink.LinkByName(l.Link()); err != nil {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.Link()}, PeerName: "host", PeerNamespace: netlink.NsFd(fabric.fd)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
	}
	if err := fabric.up("host", "br0"); err != nil {
		return err
	}
	link, err := netlink.LinkByName(l.Link())
	if err != nil {
		return err
	}
	if l.six() {
		if err := sysctl("net/ipv6/conf/"+l.Link()+"/accept_ra", "0"); err != nil {
			return err
		}
	}
	for i, addr := range l.Host() {
		if err := netlink.AddrReplace(link, address(addr, l.Subnets[i])); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// connect makes a node's namespace and its veth pair NODE (fabric) - eth0 (node).
func (l Lab) connect(fabric *space, node Node) error {
	if err := netns.Create(node.Netns); err != nil {
		return err
	}
	if l.six() {
		if err := netns.Do(node.Netns, settle); err != nil {
			return err
		}
	}
	inside, err := open(node.Netns)
	if err != nil {
		return err
	}
	defer inside.close()
	if _, err := inside.LinkByName("eth0"); err != nil {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: node.Name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(inside.fd)}
		if err := fabric.LinkAdd(veth); err != nil {
			return err
		}
	}
	if err := errors.Join(fabric.up(node.Name, "br0"), inside.up("lo", ""), inside.up("eth0", "")); err != nil {
		return err
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	for i, addr := range node.Addrs {
		if err := inside.AddrReplace(eth0, address(addr, l.Subnets[i])); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes the lab apart: the link on the host and every namespace bound in Dir.
func (l Lab) Remove() error {
	var errs []error
	if link, err := netlink.LinkByName(l.Link()); err == nil && netns.Bound(l.fabric()) { // else it is another lab's
		errs = append(errs, netlink.LinkDel(link))
	}
	files, _ := os.ReadDir(l.Dir) // a lab that was never made has none
	for _, f := range files {
		errs = append(errs, netns.Remove(filepath.Join(l.Dir, f.Name())))
	}
	if len(files) > 0 {
		errs = append(errs, os.Remove(l.Dir))
	}
	return errors.Join(errs...)
}

// space is a netlink handle inside a namespace.
type space struct {
	*netlink.Handle
	fd int
}

func open(path string) (*space, error) {
	ns, err := vnetns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return &space{Handle: handle, fd: int(ns)}, nil
}

func (s *space) close() {
	s.Handle.Close()
	ns := vnetns.NsHandle(s.fd)
	ns.Close()
}

// up brings a link up, as a port of the named bridge if one is given.
func (s *space) up(name, bridge string) error {
	link, err := s.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if bridge != "" {
		master, err := s.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("link %s: %w", bridge, err)
		}
		if err := s.LinkSetMaster(link, master); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return s.LinkSetUp(link)
}

func ignoreExists(err error) error {
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
