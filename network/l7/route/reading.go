package route

import (
	"errors"
	"net/url"
	"strings"
)

// PathReading is what a request's path, without its query, means.
type PathReading struct {
	Normal string // NormalPath's, which rules look at
	// Forward is what backends get: the path as it was sent, or, if that had segments "." or ".." or began with more than one slash, its
	// normal form, so that nobody has to resolve them again, in another way perhaps.
	Forward string
	// Others are further normal forms that the path has for servers which take an encoded slash for a character of a name, or what
	// follows a semicolon for parameters of a segment. One that meets another rule than Normal is to be refused.
	Others []string
}

// What is refused, whatever the rules are.
var (
	errNoPath    = errors.New("the path of the request is none")
	errBackslash = errors.New("the path of the request has a backslash, which some servers take for a slash")
	errDots      = errors.New("the path of the request has dots with parameters for a segment, which some servers take for the segment above")
)

// PlainPath is the normal form of a path that has one meaning, and that backends get as it was sent; false: ReadPath is to be asked.
func PlainPath(raw string) (path string, plain bool) {
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case ';', '\\':
			return "", false
		case '/':
			if odd(raw[i+1:]) {
				return "", false
			}
		case '%':
			if i+2 < len(raw) && special(hexDigit(raw[i+1])<<4|hexDigit(raw[i+2])) {
				return "", false
			}
		}
	}
	return NormalPath(raw)
}

// special reports whether an encoded byte may change what the path around it means.
func special(c byte) bool { return c == '/' || c == '\\' || c == '.' || c == ';' }

// ReadPath reads a path in every way that is known; an error says why it is refused.
func ReadPath(raw string) (PathReading, error) {
	normal, ok := NormalPath(raw)
	if !ok {
		return PathReading{}, errNoPath
	}
	decoded, _ := decode(raw, 0) // it can be: NormalPath did
	if strings.IndexByte(string(decoded), '\\') >= 0 {
		return PathReading{}, errBackslash
	}
	dots := strings.HasPrefix(raw, "//")
	for segment := range strings.SplitSeq(string(decoded), "/") {
		name, _, parameters := strings.Cut(segment, ";")
		if name != "." && name != ".." {
			continue
		}
		if parameters {
			return PathReading{}, errDots
		}
		dots = true
	}
	r := PathReading{Normal: normal, Forward: raw}
	if dots {
		r.Forward = (&url.URL{Path: normal}).EscapedPath()
	}
	r.Others = others(r.Forward, normal)
	return r, nil
}

var (
	keepSlashes    = strings.NewReplacer("%2f", "%252F", "%2F", "%252F")
	withParameters = strings.NewReplacer("%3b", ";", "%3B", ";")
)

// others are the normal forms that a path has besides the usual one.
func others(raw, usual string) (all []string) {
	kept := keepSlashes.Replace(raw)
	for _, way := range []string{kept, bare(raw), bare(kept)} {
		if normal, ok := NormalPath(way); ok && normal != usual && (len(all) == 0 || all[len(all)-1] != normal) {
			all = append(all, normal)
		}
	}
	return all
}

// bare is a path without the parameters of its segments.
func bare(raw string) string {
	if raw = withParameters.Replace(raw); strings.IndexByte(raw, ';') < 0 {
		return raw
	}
	segments := strings.Split(raw, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}
