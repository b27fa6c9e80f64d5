package dns

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxServers is how many servers are used, the limit of resolv.conf(5).
const maxServers = 3

// servers is the list of upstream servers, read from a file again after the file changed.
type servers struct {
	path string
	self []netip.AddrPort // this server: asking it would never end

	mu      sync.Mutex
	checked time.Time
	stamp   os.FileInfo
	now     []string
}

// list returns the servers as of now. The file is looked at no more than once a second.
func (s *servers) list(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" || now.Sub(s.checked) < time.Second {
		return s.now
	}
	s.checked = now
	f, err := os.Open(s.path)
	if err != nil {
		s.stamp, s.now = nil, nil
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && s.stamp != nil && os.SameFile(info, s.stamp) && info.ModTime().Equal(s.stamp.ModTime()) && info.Size() == s.stamp.Size() {
		return s.now
	}
	s.stamp, s.now = info, parseResolvConf(f, s.self)
	return s.now
}

// parseResolvConf returns the nameserver lines of a resolv.conf(5) as host:port, without self.
func parseResolvConf(r io.Reader, self []netip.AddrPort) []string {
	var list []string
	for lines := bufio.NewScanner(r); lines.Scan() && len(list) < maxServers; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(fields[1])
		if err != nil || slices.Contains(self, netip.AddrPortFrom(ip, 53)) {
			continue
		}
		list = append(list, net.JoinHostPort(ip.String(), "53"))
	}
	return list
}
