package ingress

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/api"
)

// Prefix begins the names of the annotations that this package reads: those of ingress-nginx.
const Prefix = "nginx.ingress.kubernetes.io/"

// row is one annotation.
type row struct {
	name  string // without Prefix
	level Level  // how it compares with ingress-nginx when its value is one that is allowed; never Wrong
	note  string // how it differs, or how to say it otherwise; of what is Same, what is so without it
	// guard: it keeps people out, so where it cannot be done nothing is served.
	guard bool
	// guarding are values that do, of an annotation that is none by itself; nil: none does.
	guarding *regexp.Regexp
	// idle are values that ask for nothing, with which it is Same whatever its level.
	idle []string
	// set takes a value into settings, or says what is wrong with it; nil: there is nothing to do.
	set func(s *settings, value string) (problem string)
	// otherwise is what is so with a wrong value; empty: the same as without the annotation.
	otherwise string
}

// all are the rows by name.
var all = byName(rowsOfPaths, rowsOfRedirects, rowsOfBackends, rowsOfSessions, rowsOfAccess, rowsOfAuthentication, rowsOfCanaries, rowsWithoutEffect, rowsNotSupported)

func byName(groups ...[]row) map[string]*row {
	m := map[string]*row{}
	for _, g := range groups {
		for i := range g {
			if m[g[i].name] != nil {
				panic("BUG: ingress: two rows for " + g[i].name)
			}
			m[g[i].name] = &g[i]
		}
	}
	return m
}

// read is what the annotations of an Ingress say, and what is to be said about them.
func read(ing *networkingv1.Ingress) (*settings, []Line) {
	s, lines := defaults(), []Line(nil)
	for _, key := range slices.Sorted(maps.Keys(ing.Annotations)) {
		if r := rowsOfOurs[key]; r != nil {
			lines = append(lines, r.read(&s, ing.Annotations[key]))
			continue
		}
		name, is := strings.CutPrefix(key, Prefix)
		if !is {
			continue
		}
		r := all[name]
		if r == nil {
			lines = append(lines, unknown(name))
			continue
		}
		lines = append(lines, r.read(&s, ing.Annotations[key]))
	}
	lines = append(lines, s.together(api.Name(ing).Namespace)...)
	return &s, lines
}

func (r *row) read(s *settings, value string) Line {
	value = strings.TrimSpace(value)
	line := Line{Annotation: r.name, Level: r.level}
	if r.level > Same {
		line.Text = r.note
	}
	switch problem := r.problem(s, value); {
	case problem != "":
		line.Level, line.Text = Wrong, fmt.Sprintf("%q %s", shortened(value), problem)
	case slices.Contains(r.idle, strings.ToLower(value)):
		line.Level, line.Text = Same, ""
	}
	if (r.guard || r.guarding != nil && r.guarding.MatchString(value)) && line.Level >= Unsupported {
		s.close(&line)
	} else if line.Level == Wrong {
		line.Text += "; " + cmp.Or(r.otherwise, "it counts as not written")
	}
	return line
}

func (r *row) problem(s *settings, value string) string {
	if r.set == nil {
		return ""
	}
	return r.set(s, value)
}

// close has nothing served of an Ingress whose guard cannot be.
func (s *settings) close(line *Line) {
	s.closed = line.Annotation
	line.Text += "; what it guards is not served: its paths answer 503"
}

func shortened(value string) string {
	if len(value) > 80 {
		return strings.ToValidUTF8(value[:77], "") + "..."
	}
	return value
}

// What follows makes the functions that read values of one form.

func flag(field func(*settings) *bool) func(*settings, string) string {
	return func(s *settings, value string) string {
		b, err := strconv.ParseBool(value)
		if err != nil {
			return "is neither true nor false"
		}
		*field(s) = b
		return ""
	}
}

func onOff(field func(*settings) *bool) func(*settings, string) string {
	return func(s *settings, value string) string {
		if value != "on" && value != "off" {
			return "is neither on nor off"
		}
		*field(s) = value == "on"
		return ""
	}
}

func number(least, most int, field func(*settings) *int) func(*settings, string) string {
	return func(s *settings, value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fmt.Sprintf("is no whole number from %d to %d", least, most)
		}
		*field(s) = n
		return ""
	}
}

func matching(pattern, problem string, field func(*settings) *string) func(*settings, string) string {
	expression := regexp.MustCompile(pattern)
	return func(s *settings, value string) string {
		if !expression.MatchString(value) {
			return problem
		}
		*field(s) = value
		return ""
	}
}

func oneOf(field func(*settings) *string, values ...string) func(*settings, string) string {
	return func(s *settings, value string) string {
		if !slices.Contains(values, value) {
			return "is none of " + strings.Join(values, ", ")
		}
		if field != nil {
			*field(s) = value
		}
		return ""
	}
}

func ranges(field func(*settings) *[]netip.Prefix) func(*settings, string) string {
	return func(s *settings, value string) string {
		var list []netip.Prefix
		for _, text := range members(value) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				addr, err := netip.ParseAddr(text)
				if err != nil || addr.Zone() != "" {
					return fmt.Sprintf("has %q, which is no address and no range", shortened(text))
				}
				prefix = netip.PrefixFrom(addr, addr.BitLen())
			}
			list = append(list, prefix.Masked())
		}
		if len(list) == 0 {
			return "has no address"
		}
		*field(s) = list
		return ""
	}
}

// members are the members of a list that commas separate, without empty ones.
func members(value string) []string {
	var list []string
	for _, text := range strings.Split(value, ",") {
		if text = strings.TrimSpace(text); text != "" {
			list = append(list, text)
		}
	}
	return list
}

func listOf(pattern, problem string, field func(*settings) *[]string) func(*settings, string) string {
	expression := regexp.MustCompile(pattern)
	return func(s *settings, value string) string {
		list := members(value)
		for _, text := range list {
			if !expression.MatchString(text) {
				return fmt.Sprintf("has %q, which %s", shortened(text), problem)
			}
		}
		if len(list) == 0 {
			return "is empty"
		}
		*field(s) = list
		return ""
	}
}

// size reads bytes as nginx writes them: 10, 8k, 5m, 1g.
func size(field func(*settings) *int64) func(*settings, string) string {
	return func(s *settings, value string) string {
		digits, factor := value, int64(1)
		if n := len(value); n > 0 {
			if i := strings.IndexByte("bkmg", value[n-1]|0x20); i >= 0 {
				digits, factor = value[:n-1], 1<<(10*i)
			}
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<62)/factor {
			return "is no size like 512, 8k, 10m or 1g"
		}
		*field(s) = n * factor
		return ""
	}
}
