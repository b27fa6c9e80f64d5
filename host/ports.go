package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// socket is one line of /proc/net/tcp and its like: a local end, and the
// inode by which a process holds it.
type socket struct {
	local netip.AddrPort
	inode string
}

// States of sockets in /proc/net/*: TCP_LISTEN, and TCP_CLOSE, which is what
// a UDP socket without a peer shows.
const (
	stateListen  = "0A"
	stateUnbound = "07"
)

// PortHolder finds the process that listens on addr, in this network
// namespace; network is "tcp" or "udp". An unspecified address, here or
// there, overlaps every address of its family; IPv6's also IPv4's. When the
// port is taken by a process that cannot be seen, pid is 0.
func PortHolder(network string, addr netip.AddrPort) (pid int, name string, taken bool) {
	sockets, err := listening(network)
	if err != nil {
		return 0, "", false
	}
	var inodes []string
	for _, s := range sockets {
		if overlap(s.local, addr) {
			inodes = append(inodes, s.inode)
		}
	}
	if len(inodes) == 0 {
		return 0, "", false
	}
	pid, name = holder(inodes)
	return pid, name, true
}

// overlap tells whether two sockets cannot listen on both.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	switch {
	case x == y, x == netip.IPv6Unspecified(), y == netip.IPv6Unspecified():
		return true
	case x.IsUnspecified(), y.IsUnspecified():
		return x.Is4() == y.Is4()
	}
	return false
}

// listening lists the sockets that wait for peers, IPv4 and IPv6.
func listening(network string) ([]socket, error) {
	state := stateListen
	if network == "udp" {
		state = stateUnbound
	}
	var all []socket
	for _, file := range []string{network, network + "6"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("sockets: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != state {
				continue
			}
			local, err := parseSocketAddr(f[1])
			if err != nil {
				return nil, err
			}
			all = append(all, socket{local: local, inode: f[9]})
		}
	}
	return all, nil
}

// parseSocketAddr reads "0100007F:403B": the address in words of the
// machine's (little-endian) order, the port in plain hexadecimal.
func parseSocketAddr(text string) (netip.AddrPort, error) {
	words, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(words)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("socket address %q: %w", text, err)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket address %q cannot be read", text)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// holder finds a process that has one of the sockets open.
func holder(inodes []string) (pid int, name string) {
	dirs, err := filepath.Glob("/proc/[0-9]*/fd")
	if err != nil {
		return 0, ""
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, e := range entries {
			target, err := os.Readlink(filepath.Join(dir, e.Name()))
			inode, ok := strings.CutPrefix(target, "socket:[")
			if err != nil || !ok || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
				continue
			}
			proc := filepath.Dir(dir)
			comm, _ := os.ReadFile(filepath.Join(proc, "comm"))
			pid, _ := strconv.Atoi(filepath.Base(proc))
			return pid, strings.TrimSpace(string(comm))
		}
	}
	return 0, ""
}

// PortName is how the name of a finding about a port begins.
const PortName = "port "

func checkPorts(_ context.Context, req Requirements) []Finding {
	var found []Finding
	for _, p := range req.Ports {
		name := fmt.Sprintf("%s%d/%s", PortName, p.Addr.Port(), p.Network)
		pid, command, taken := PortHolder(p.Network, p.Addr)
		at := ""
		if !p.Addr.Addr().IsUnspecified() {
			at = fmt.Sprintf(" on %s", p.Addr.Addr())
		}
		switch {
		case !taken:
			found = append(found, pass(name, "free for the %s%s", p.For, at))
			continue
		case pid != 0 && pid == req.Running.PID:
			found = append(found, pass(name, "in use by this cluster %s, for the %s%s", req.Running.Name, p.For, at))
			continue
		}
		who := "a process that is not visible here"
		if pid != 0 {
			who = fmt.Sprintf("process %d (%s)", pid, command)
		}
		advice := "stop that"
		if p.Flag != "" {
			advice += ", or choose another port with " + p.Flag
		}
		if p.Spare {
			found = append(found, warn(name, "the %s cannot listen on %s, which %s holds; the rest works: %s", p.For, p.Addr, who, advice))
			continue
		}
		found = append(found, fail(name, "the %s cannot listen on %s, which %s holds: %s", p.For, p.Addr, who, advice))
	}
	return found
}
