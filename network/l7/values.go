package l7

import (
	"net/http"
	"net/url"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// values are the parts of a request that few rules ask for.
type values exchange

// Header is the first of a name.
func (v *values) Header(name string) (string, bool) {
	if all := v.r.Header[name]; len(all) > 0 {
		return all[0], true
	}
	if name == "Host" {
		return v.r.Host, true
	}
	return "", false
}

// Parameter is the first of a name in the query.
func (v *values) Parameter(name string) (string, bool) { return parameter(v.query, name) }

// Cookie is the first of a name.
func (v *values) Cookie(name string) (string, bool) {
	for _, line := range v.r.Header["Cookie"] {
		if value, is := cookieIn(line, name); is {
			return value, true
		}
	}
	return "", false
}

// cookieIn looks for a name in a Cookie field (RFC 6265, 5.4).
func cookieIn(line, name string) (string, bool) {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		if key, value, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(key) == name {
			value = strings.TrimSpace(value)
			if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value, true
		}
	}
	return "", false
}

// parameter looks for a name in a query, without reading more of it than is needed.
func parameter(query, name string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key != name {
			k, err := url.QueryUnescape(key)
			if err != nil || k != name {
				continue
			}
		}
		if v, err := url.QueryUnescape(value); err == nil {
			return v, true
		}
		return value, true
	}
	return "", false
}

// expand puts variables into a text.
func (x *exchange) expand(text string) string { return route.Expand(text, x.variable) }

// variable is what one of route's Variables stands for; one that is none stays as it is.
func (x *exchange) variable(name string) string {
	v := (*values)(x)
	switch name {
	case "host", "http_host", "best_http_host":
		if name == "host" {
			return x.host
		}
		return x.r.Host
	case "request_uri":
		return x.uri()
	case "escaped_request_uri":
		return url.QueryEscape(x.uri())
	case "uri", "document_uri":
		return x.normal
	case "args", "query_string":
		return x.query
	case "is_args":
		if x.query != "" {
			return "?"
		}
		return ""
	case "scheme", "pass_access_scheme":
		return x.scheme()
	case "request_method":
		return x.r.Method
	case "remote_addr":
		return x.conn.client.Addr().String()
	case "server_port", "pass_server_port":
		return x.port()
	case "req_id", "request_id":
		return x.id
	}
	for prefix, get := range map[string]func(string) (string, bool){
		"cookie_": v.Cookie, "arg_": v.Parameter,
		"http_": func(n string) (string, bool) {
			return v.Header(http.CanonicalHeaderKey(strings.ReplaceAll(n, "_", "-")))
		},
	} {
		if n, ok := strings.CutPrefix(name, prefix); ok {
			value, _ := get(n)
			return value
		}
	}
	return "$" + name
}

// uri is the path and query as backends get them, unless they are rewritten.
func (x *exchange) uri() string {
	if x.query == "" {
		return x.path
	}
	return x.path + "?" + x.query
}

func (x *exchange) scheme() string { return schemeOf(x.conn) }

func schemeOf(c *connection) string {
	if c.secure {
		return "https"
	}
	return "http"
}
