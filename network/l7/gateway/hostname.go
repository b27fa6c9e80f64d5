package gateway

import (
	"iter"
	"strings"

	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// covers reports whether every name of inner is one of outer's. A host name is empty (every name), "*.example.org" (every name
// below, of any depth) or one name.
func covers(outer, inner string) bool {
	suffix, wild := strings.CutPrefix(outer, "*")
	switch {
	case outer == "" || outer == inner:
		return true
	case !wild:
		return false
	}
	inner, _ = strings.CutPrefix(inner, "*")
	return strings.HasSuffix(inner, suffix) && inner != suffix
}

// intersection is the names that two host names have in common, if there are any: the narrower of them.
func intersection(a, b string) (string, bool) {
	switch {
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// intersections are what a route's host names and a listener's have in common. A route without any is for all the listener's.
func intersections(listener string, route []gw.Hostname) []string {
	if len(route) == 0 {
		return []string{listener}
	}
	var common []string
	for _, h := range route {
		if name, ok := intersection(listener, strings.ToLower(string(h))); ok {
			common = append(common, name)
		}
	}
	return common
}

// widerThan are the host names that cover one, itself excluded.
func widerThan(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		rest, _ := strings.CutPrefix(host, "*.")
		if rest == host { // no wildcard: the first label goes
			_, rest, _ = strings.Cut(host, ".")
		} else {
			_, rest, _ = strings.Cut(rest, ".")
		}
		for rest != "" {
			if !yield("*." + rest) {
				return
			}
			_, rest, _ = strings.Cut(rest, ".")
		}
		if host != "" {
			yield("")
		}
	}
}

// rank orders host names: exact ones have the most, then wildcards by the number of their labels, then the empty one.
func rank(host string) int {
	switch {
	case host == "":
		return 0
	case strings.HasPrefix(host, "*"):
		return 1 + strings.Count(host, ".")
	}
	return 1 << 10
}

// text is the value of an optional string, empty if there is none.
func text[T ~string](s *T) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// or is the value of an optional string, or another one.
func or[T ~string](s *T, other string) string {
	if s == nil {
		return other
	}
	return string(*s)
}
