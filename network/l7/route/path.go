package route

import (
	"bytes"
	"strings"
)

// NormalPath is the form of a path, without its query, that rules look at; false if it is no path. A path that is in this form
// already is returned as it is. Of a request's path, PlainPath or ReadPath is asked, which know of other ways to read it.
func NormalPath(raw string) (path string, ok bool) {
	if raw == "" || raw[0] != '/' {
		return "", false
	}
	for i := 0; ; i++ {
		switch {
		case i == len(raw):
			return raw, true
		case raw[i] == 0:
			return "", false
		case raw[i] == '%', raw[i] == '/' && odd(raw[i+1:]):
			return resolve(raw, i)
		}
	}
}

// odd reports whether what follows a slash may have to be resolved.
func odd(rest string) bool {
	return rest != "" && (rest[0] == '/' || rest[0] == '.' && (len(rest) == 1 || rest[1] == '/' || rest[1] == '.'))
}

// resolve does what NormalPath says, from the first byte on that may not be in normal form.
func resolve(raw string, from int) (path string, ok bool) {
	decoded, ok := decode(raw, from)
	if !ok {
		return "", false
	}
	out := make([]byte, 0, len(decoded))
	for rest := string(decoded); rest != ""; {
		end := len(rest) // of the segment with the slash before it
		if i := strings.IndexByte(rest[1:], '/'); i >= 0 {
			end = i + 1
		}
		segment, last := rest[1:end], end == len(rest)
		rest = rest[end:]
		switch {
		case segment == "" && !last: // merged with the slash that follows
			continue
		case segment == "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:bytes.LastIndexByte(out, '/')]
		case segment != ".":
			out = append(append(out, '/'), segment...)
		}
		if last && (segment == "." || segment == "..") {
			out = append(out, '/') // what it names is a directory
		}
	}
	return string(out), true
}

// decode undoes percent-encoding from a place on. A NUL is in no path.
func decode(raw string, from int) (decoded []byte, ok bool) {
	decoded = append(make([]byte, 0, len(raw)), raw[:from]...)
	for i := from; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) {
				return nil, false
			}
			high, low := hexDigit(raw[i+1]), hexDigit(raw[i+2])
			if high > 15 || low > 15 {
				return nil, false
			}
			c = high<<4 | low
			i += 2
		}
		if c == 0 {
			return nil, false
		}
		decoded = append(decoded, c)
	}
	return decoded, true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
