package route

import "regexp"

// Rule is what happens to the requests that it matches.
type Rule struct {
	Source Source
	Match  Match
	Action Action
}

// Match is what a request has to be like: everything that is set has to hold.
type Match struct {
	Path    Path
	Method  string // empty: any
	Headers []ValueMatch
	Query   []ValueMatch
	Cookies []ValueMatch
}

// PathKind says how a Path is compared.
type PathKind uint8

// The kinds of paths.
const (
	// Prefix holds for the path itself and everything below it, element by element: /a/b for /a/b and /a/b/c, not for /a/bc.
	// A slash at its end does not count. "/" holds for everything.
	Prefix PathKind = iota
	Exact           // the same bytes
	Regex           // Pattern matches
	Start           // the path begins with these bytes: /a/b for /a/bc as well (nginx' location without a modifier)
)

// Path is a condition on the path of a request in its normal form (NormalPath), without its query.
type Path struct {
	Kind    PathKind
	Value   string         // of Prefix, Exact and Start in normal form, and the source of Pattern
	Pattern *regexp.Regexp // of Regex; anchored as it has to be. RE2: its time is linear in the path's length
}

// ValueMatch is a condition on a header, a parameter of the query, or a cookie. If there are several of the name, the first counts.
type ValueMatch struct {
	Name    string         // of a header in canonical form (http.CanonicalHeaderKey); of others as it is
	Value   string         // to be equal to; unused with a Pattern
	Pattern *regexp.Regexp // to match; nil: Value counts
	Absent  bool           // holds if there is none of the name; Value and Pattern do not count
}
