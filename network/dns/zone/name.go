package zone

import (
	"net/netip"
	"strings"
)

// Name is a domain name in wire format (length-prefixed labels, ending in the zero byte), in lower
// case. Names are compared as strings: DNS compares case-insensitively (rule N18), so everything that
// enters is folded once.
type Name string

// Limits of RFC 1035, section 2.3.4.
const (
	maxLabel = 63
	MaxName  = 255
)

// ParseName reads the presentation form ("cluster.local", with or without the final dot). Escapes are
// not supported: no name of the API can contain a character that needs one.
func ParseName(s string) (Name, bool) {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "\x00", true
	}
	var n Name = "\x00"
	labels := strings.Split(s, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		var ok bool
		if n, ok = n.Child(labels[i]); !ok {
			return "", false
		}
	}
	return n, true
}

// Child returns the name one label below n, and whether it is a legal name.
func (n Name) Child(label string) (Name, bool) {
	if label == "" || len(label) > maxLabel || 1+len(label)+len(n) > MaxName {
		return "", false
	}
	return Name(string(byte(len(label)))+strings.ToLower(label)) + n, true
}

// Parent returns n without its first label; the root is its own parent.
func (n Name) Parent() Name {
	if n == "\x00" {
		return n
	}
	return n[1+n[0]:]
}

// label returns the first label of n.
func (n Name) label() string { return string(n[1 : 1+n[0]]) }

// String returns the presentation form with its final dot.
func (n Name) String() string {
	if n == "\x00" || n == "" {
		return "."
	}
	var b strings.Builder
	for ; n != "\x00"; n = n.Parent() {
		b.WriteString(n.label())
		b.WriteByte('.')
	}
	return b.String()
}

// lower maps each byte to its ASCII lower case. A length byte is at most 63 and so is never a letter:
// a whole wire-format name can be folded without looking at its labels.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] = byte(i) + 'a' - 'A'
		}
	}
	return t
}()

// dashed returns the label CoreDNS gives an endpoint without a hostname (rule N7): the address with
// dashes; one that would end in a dash gets a zero appended.
func dashed(ip netip.Addr) string {
	s := strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
	if strings.HasSuffix(s, "-") {
		s += "0"
	}
	return s
}

// undashed parses the label of a pod name (rule N17): four groups are IPv4, else colons.
func undashed(label string) (netip.Addr, bool) {
	sep := ":"
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		sep = "."
	}
	ip, err := netip.ParseAddr(strings.ReplaceAll(label, "-", sep))
	return ip, err == nil && ip.Zone() == ""
}

const (
	arpa4 Name = "\x07in-addr\x04arpa\x00"
	arpa6 Name = "\x03ip6\x04arpa\x00"
)

// reversed is the address whose PTR record is asked for by the wire-format name n. It is false for anything else, in particular for a name with too few or too many labels.
func reversed(n []byte) (netip.Addr, bool) {
	switch {
	case len(n) > len(arpa4) && string(n[len(n)-len(arpa4):]) == string(arpa4):
		return reversed4(n[:len(n)-len(arpa4)])
	case len(n) == 64+len(arpa6) && string(n[64:]) == string(arpa6):
		return reversed6(n[:64])
	}
	return netip.Addr{}, false
}

func reversed4(n []byte) (netip.Addr, bool) {
	var ip [4]byte
	for i := 3; i >= 0; i-- {
		if len(n) == 0 || n[0] > 3 || len(n) < 1+int(n[0]) {
			return netip.Addr{}, false
		}
		v := 0
		for _, c := range n[1 : 1+n[0]] {
			if c < '0' || c > '9' {
				return netip.Addr{}, false
			}
			v = v*10 + int(c-'0')
		}
		if v > 255 || n[0] > 1 && n[1] == '0' {
			return netip.Addr{}, false
		}
		ip[i] = byte(v)
		n = n[1+n[0]:]
	}
	return netip.AddrFrom4(ip), len(n) == 0
}

func reversed6(n []byte) (netip.Addr, bool) {
	var ip [16]byte
	for i := range 32 {
		if n[2*i] != 1 {
			return netip.Addr{}, false
		}
		var v byte
		switch c := n[2*i+1]; {
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		default:
			return netip.Addr{}, false
		}
		ip[15-i/2] |= v << (4 * (i % 2))
	}
	return netip.AddrFrom16(ip), true
}
