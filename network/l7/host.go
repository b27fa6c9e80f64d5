package l7

import (
	"net/netip"
	"strings"
)

// hostOf is the name in a Host header, in lower case, without port and without a dot at its end; false if it is none. An empty one
// is a name: HTTP/1.0 sends none.
func hostOf(header string) (host string, ok bool) {
	host = header
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !port(host[end+1:]) {
			return "", false
		}
		a, err := netip.ParseAddr(host[1:end])
		return a.String(), err == nil && a.Is6() && a.Zone() == ""
	}
	if colon := strings.IndexByte(host, ':'); colon >= 0 {
		if !port(host[colon:]) {
			return "", false
		}
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return "", false
	}
	lower := true
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_':
		case c >= 'A' && c <= 'Z':
			lower = false
		default:
			return "", false
		}
	}
	if !lower {
		host = strings.ToLower(host)
	}
	return host, true
}

// port reports whether a text is nothing, or a colon with a number of at most five digits (none is allowed: RFC 3986, 3.2.3).
func port(text string) bool {
	if text == "" {
		return true
	}
	if text[0] != ':' || len(text) > 6 {
		return false
	}
	for i := 1; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}
