package script

import (
	"fmt"
	"regexp"
	"strings"
)

// placeholders are what a form may contain instead of text.
var placeholders = map[string]string{
	"{ip}":   `\d{1,3}(?:\.\d{1,3}){3}`,
	"{ip6}":  `[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*`,
	"{age}":  `(?:\d+[smhdy])+`,
	"{int}":  `\d+`,
	"{word}": `\S+`,
	"{id}":   `[a-z0-9]+`,
	"{any}":  `.*`,
}

var (
	placeholder = regexp.MustCompile(`\{[a-z]+6?\}`)
	columns     = regexp.MustCompile(` {2,}`)
)

// like reports how text differs from form, empty if it has the form.
func like(text, form string) string {
	got, want := lines(text), lines(form)
	for i, w := range want {
		if i >= len(got) {
			return fmt.Sprintf("line %d is missing: %s", i+1, w)
		}
		pattern, err := compile(w)
		if err != nil {
			return fmt.Sprintf("line %d of the form: %v", i+1, err)
		}
		if !pattern.MatchString(got[i]) {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, got[i], w)
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("line %d is too much: %s", len(want)+1, got[len(want)])
	}
	return ""
}

// lines splits text, without the spaces at line ends and the empty lines at its end.
func lines(text string) []string {
	list := strings.Split(strings.TrimRight(text, " \n"), "\n")
	for i := range list {
		list[i] = strings.TrimRight(list[i], " ")
	}
	return list
}

// compile turns a line of a form into a regular expression for the whole line.
func compile(line string) (*regexp.Regexp, error) {
	var b strings.Builder
	rest := line
	for rest != "" {
		at := placeholder.FindStringIndex(rest)
		if at == nil {
			b.WriteString(literal(rest))
			break
		}
		pattern, ok := placeholders[rest[at[0]:at[1]]]
		if !ok {
			return nil, fmt.Errorf("%s is no placeholder", rest[at[0]:at[1]])
		}
		b.WriteString(literal(rest[:at[0]]) + pattern)
		rest = rest[at[1]:]
	}
	return regexp.Compile("^" + b.String() + "$")
}

func literal(text string) string {
	return columns.ReplaceAllString(regexp.QuoteMeta(text), " {2,}")
}
