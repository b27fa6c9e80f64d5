package ingress

import (
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// rowsOfOurs are annotations of our own, by their whole names.
var rowsOfOurs = map[string]*row{
	api.AnnotationRequestHeaders:  {name: api.AnnotationRequestHeaders, set: headers(func(s *settings) *route.HeaderEdit { return &s.request })},
	api.AnnotationResponseHeaders: {name: api.AnnotationResponseHeaders, set: headers(func(s *settings) *route.HeaderEdit { return &s.response })},
}

// ofConnections are headers that are no business of whoever writes an Ingress: they say what the connection or the message is (RFC
// 9110, 7.6.1), or which host is meant.
var ofConnections = []string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

var (
	headerName  = regexp.MustCompile(token)
	headerValue = regexp.MustCompile(`^[^\x00-\x08\x0a-\x1f\x7f]*$`)
)

// headers reads lines as in "Name: value".
func headers(field func(*settings) *route.HeaderEdit) func(*settings, string) string {
	return func(s *settings, value string) string {
		var edit route.HeaderEdit
		seen := map[string]bool{}
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			name, text, found := strings.Cut(line, ":")
			text = strings.TrimSpace(text)
			if !found || !headerName.MatchString(name) || !headerValue.MatchString(text) {
				return fmt.Sprintf("has the line %q, which is not as in \"Name: value\"", shortened(line))
			}
			name = textproto.CanonicalMIMEHeaderKey(name)
			switch {
			case slices.Contains(ofConnections, name):
				return fmt.Sprintf("has %s, which may not be changed", name)
			case seen[name]:
				return fmt.Sprintf("has %s twice", name)
			case text == "":
				edit.Remove = append(edit.Remove, name)
			default:
				edit.Set = append(edit.Set, route.Header{Name: name, Value: text})
			}
			seen[name] = true
		}
		if edit.IsEmpty() {
			return "is empty"
		}
		*field(s) = edit
		return ""
	}
}
