package route

import "strings"

// Variables may be in the texts of a Redirect, of an ExternalAuth and of Balance.HashBy, as $name or ${name}. They are nginx',
// and mean what they mean there:
//
//	$scheme $host $http_host $request_uri $escaped_request_uri $uri $args $query_string $is_args $request_method $request_id
//	$remote_addr $server_port $http_NAME $cookie_NAME $arg_NAME
//
// $pass_access_scheme, $best_http_host, $pass_server_port, $document_uri and $req_id are other names of some, from ingress-nginx.
var plainVariables = map[string]bool{
	"scheme": true, "host": true, "http_host": true, "request_uri": true, "escaped_request_uri": true, "uri": true, "args": true,
	"query_string": true, "is_args": true, "request_method": true, "request_id": true, "remote_addr": true, "server_port": true,
	"pass_access_scheme": true, "best_http_host": true, "pass_server_port": true, "document_uri": true, "req_id": true,
}

// IsVariable reports whether there is a variable of a name, which is without its $.
func IsVariable(name string) bool {
	if plainVariables[name] {
		return true
	}
	for _, prefix := range []string{"http_", "cookie_", "arg_"} {
		if len(name) > len(prefix) && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Variables are the names of the variables in a text, in order. A $ that no name follows is one by itself.
func Variables(text string) (names []string) {
	Expand(text, func(name string) string {
		names = append(names, name)
		return ""
	})
	return names
}

// Expand is a text with what value says for each of its variables.
func Expand(text string, value func(name string) string) string {
	dollar := strings.IndexByte(text, '$')
	if dollar < 0 {
		return text
	}
	var b strings.Builder
	for ; dollar >= 0; dollar = strings.IndexByte(text, '$') {
		b.WriteString(text[:dollar])
		text = text[dollar+1:]
		name, end := text, 0
		if inner, is := strings.CutPrefix(text, "{"); is {
			n := nameLength(inner)
			if n > 0 && n < len(inner) && inner[n] == '}' {
				name, end = inner[:n], n+2
			}
		} else {
			end = nameLength(text)
			name = text[:end]
		}
		if end == 0 {
			b.WriteByte('$')
			continue
		}
		b.WriteString(value(name))
		text = text[end:]
	}
	b.WriteString(text)
	return b.String()
}

func nameLength(text string) int {
	for i := range len(text) {
		c := text[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return i
		}
	}
	return len(text)
}
