// Package configfile tells where in a file of an administrator's a mistake is. The files are of Kubernetes' own formats and are
// read by its own code, whose errors name a field and rarely a line.
package configfile

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Wrong is an error about the file at path, with the line that it is about, as far as its words tell.
func Wrong(path string, err error) error {
	text, unread := os.ReadFile(path)
	if unread != nil {
		return unread
	}
	if line := Line(text, err.Error()); line > 0 {
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

var (
	ofSyntax = regexp.MustCompile(`\bline (\d+)\b`)
	ofField  = []*regexp.Regexp{
		regexp.MustCompile(`(?:unknown|duplicate) field "([^"]+)"`),
		regexp.MustCompile(`([A-Za-z][\w.\[\]-]*): (?:Invalid|Required|Unsupported|Duplicate|Too|Forbidden|Internal|Not found)`),
		regexp.MustCompile(`into Go struct field \w+\.([\w.]+) of type`),
	}
)

// Line is the line of a text in YAML or JSON that the words of an error are about; 0: they do not say.
func Line(text []byte, words string) int {
	if m := ofSyntax.FindStringSubmatch(words); m != nil {
		line, err := strconv.Atoi(m[1])
		if err == nil {
			return line
		}
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return 0
	}
	for _, form := range ofField {
		if m := form.FindStringSubmatch(words); m != nil {
			return follow(document.Content[0], steps(m[1]))
		}
	}
	return document.Content[0].Line
}

// steps are the names and indices of a path such as resources[0].providers[1].secretbox.
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// follow is the line of the deepest node on a way. What is missing is missing in the one before.
func follow(at *yaml.Node, way []string) int {
	line := at.Line
	for len(way) > 0 {
		next, key := step(at, way[0])
		if next == nil {
			break
		}
		at, line = next, key
		if at.Kind != yaml.SequenceNode || isIndex(way[0]) || len(way) < 2 || isIndex(way[1]) {
			way = way[1:]
			continue
		}
		way = append([]string{indexOf(at, way[1])}, way[1:]...) // the way leaves indices out
	}
	return line
}

// step is the value below a node by a name or an index, and the line where it begins; nil: there is none.
func step(at *yaml.Node, name string) (next *yaml.Node, line int) {
	switch at.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(at.Content); i += 2 {
			if strings.EqualFold(at.Content[i].Value, name) {
				next, line = at.Content[i+1], at.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i < len(at.Content) {
			return at.Content[i], at.Content[i].Line
		}
	}
	return next, line
}

func isIndex(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil
}

// indexOf is the first element of a sequence that has something of a name.
func indexOf(at *yaml.Node, name string) string {
	for i, element := range at.Content {
		if next, _ := step(element, name); next != nil {
			return strconv.Itoa(i)
		}
	}
	return "0"
}
