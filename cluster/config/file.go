package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	nodes "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/node/registry"
)

// load reads a configuration file; a missing one is empty. An unknown or repeated key is an error that
// names it and its line: a misspelt setting must not be ignored.
func load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	var c Config
	err = yaml.UnmarshalStrict(bytes.TrimSpace(text), &c)
	if err == nil && c.Own != (Own{}) {
		err = errors.New(`unknown field "own"`)
	}
	if err != nil {
		said := clean(err)
		return Config{}, fmt.Errorf("config %s: %s; remove or correct it (the keys are the long flags of 'fairlead up --help' in camelCase, and registries)", at(path, blamed(text, said)), said)
	}
	return c, problems(path, text, c.Registries.Check())
}

// problems are what is wrong with registries, each with its line.
func problems(path string, text []byte, found []registry.Problem) error {
	var errs []error
	for _, p := range found {
		where := append([]string{"registries"}, p.Path...)
		errs = append(errs, fmt.Errorf("config %s: %s: %s", at(path, lineOf(text, where)), strings.Join(where, "."), p.Text))
	}
	return errors.Join(errs...)
}

// Registries reads what a configuration file says of registries now. Files that it names and that cannot be used are refused, and
// passwords that others than root may read.
func Registries(path string) (registry.Registries, error) {
	c, err := load(path)
	if err != nil {
		return c.Registries, err
	}
	r := c.Registries
	text, _ := os.ReadFile(path) // for the lines alone
	errs := []error{problems(path, text, r.CheckFiles())}
	if info, err := os.Stat(path); err == nil && r.Secret() && info.Mode().Perm()&0o077 != 0 {
		errs = append(errs, fmt.Errorf("config %s: registries hold a password, and others than root may read the file: chmod 600 %s, or give a passwordFile", path, path))
	}
	return r, errors.Join(errs...)
}

// clean strips what the YAML library says about itself from its error.
func clean(err error) string {
	s := err.Error()
	for _, prefix := range []string{"error unmarshaling JSON: ", "while decoding JSON: ", "json: ", "error converting YAML to JSON: ", "yaml: ", "unmarshal errors:\n  "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// at is a place in a file; line 0 is none.
func at(path string, line int) string {
	if line == 0 {
		return path
	}
	return fmt.Sprintf("%s:%d", path, line)
}

// The key that an error of the YAML library is about.
var blamedKey = regexp.MustCompile(`unknown field "(?:[^"]*\.)?([^".]+)"|Go struct field \S*?([A-Za-z]+) of type`)

// blamed is the line that an error is about, 0 where it says that itself.
func blamed(text []byte, said string) int {
	m := blamedKey.FindStringSubmatch(said)
	if m == nil {
		return 0
	}
	return lineOfKey(root(text), or(m[1], m[2]))
}

// root is the outermost node of a document; nil: it cannot be read.
func root(text []byte) *nodes.Node {
	var document nodes.Node
	if nodes.Unmarshal(text, &document) != nil || len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

// lineOfKey is the first line with a key of that name, anywhere; 0: there is none.
func lineOfKey(n *nodes.Node, name string) int {
	if n == nil {
		return 0
	}
	for i, child := range n.Content {
		if n.Kind == nodes.MappingNode && i%2 == 0 {
			if child.Value == name {
				return child.Line
			}
			continue
		}
		if line := lineOfKey(child, name); line > 0 {
			return line
		}
	}
	return 0
}

// lineOf is the line of a setting, or of the nearest above it that is there.
func lineOf(text []byte, path []string) int {
	line, n := 0, root(text)
	for _, name := range path {
		var next *nodes.Node
		for i := 0; n != nil && n.Kind == nodes.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				line, next = n.Content[i].Line, n.Content[i+1]
			}
		}
		if n = next; n == nil {
			break
		}
	}
	return line
}
