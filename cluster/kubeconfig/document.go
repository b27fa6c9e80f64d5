package kubeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// document is a kubeconfig in its owner's own writing. An edit splices text and leaves every other byte as it is; one that
// would change the meaning of anything else is refused.
type document struct{ text string }

// The lists of a kubeconfig, and the field of an entry that holds what its name stands for.
var bodies = map[string]string{"clusters": "cluster", "users": "user", "contexts": "context"}

const currentContext = "current-context"

// meaning is what a document says.
type meaning struct {
	lists   map[string]map[string]any // by the list's key and the entry's name: the entry's body
	current *string                   // nil: the document has no such key
	rest    map[string]any
}

// read says what a document means.
func (d document) read() (meaning, error) {
	m := meaning{lists: map[string]map[string]any{}, rest: map[string]any{}}
	if err := yaml.Unmarshal([]byte(d.text), &m.rest); err != nil {
		return m, err
	}
	for key, body := range bodies {
		m.lists[key] = map[string]any{}
		list, ok := m.rest[key].([]any)
		if !ok && m.rest[key] != nil {
			return m, fmt.Errorf("%s is not a list", key)
		}
		delete(m.rest, key)
		for _, item := range list {
			entry, _ := item.(map[string]any)
			name, ok := entry["name"].(string)
			if _, twice := m.lists[key][name]; !ok || twice {
				return m, fmt.Errorf("%s has an entry without a name, or two of one name", key)
			}
			m.lists[key][name] = entry[body]
		}
	}
	if value, has := m.rest[currentContext]; has {
		text, _ := value.(string)
		m.current = &text
	}
	delete(m.rest, currentContext)
	return m, nil
}

// entry is the body of the entry of a name, nil without one.
func (m meaning) entry(list, name string) map[string]any {
	body, _ := m.lists[list][name].(map[string]any)
	return body
}

// has reports whether there is an entry of a name.
func (m meaning) has(list, name string) bool {
	_, has := m.lists[list][name]
	return has
}

// put gives the entry of a name in a list this body.
func (d *document) put(list, name string, body map[string]any) error {
	m, err := d.read()
	if err != nil {
		return err
	}
	if m.has(list, name) {
		if err := d.drop(list, name); err != nil {
			return err
		}
	}
	return d.edit(func(m *meaning) { m.lists[list][name] = body }, func(l layout) (string, error) {
		return l.insert(list, map[string]any{"name": name, bodies[list]: body})
	})
}

// drop takes the entry of a name out of a list.
func (d *document) drop(list, name string) error {
	return d.edit(func(m *meaning) { delete(m.lists[list], name) }, func(l layout) (string, error) {
		return l.remove(list, name)
	})
}

// use makes a context the current one; nil takes the key away.
func (d *document) use(name *string) error {
	return d.edit(func(m *meaning) { m.current = name }, func(l layout) (string, error) { return l.setCurrent(name) })
}

var errUnusual = errors.New("it is written in a way that cannot be edited without touching the rest")

// edit splices the text, and keeps the result if it means exactly what was wanted.
func (d *document) edit(want func(*meaning), splice func(layout) (string, error)) error {
	wanted, err := d.read()
	if err != nil {
		return err
	}
	l, err := parse(d.text)
	if err != nil {
		return err
	}
	want(&wanted)
	text, err := splice(l)
	if err != nil {
		return err
	}
	got, err := document{text}.read()
	if err != nil || !same(got, wanted) {
		return errUnusual
	}
	d.text = text
	return nil
}

// same compares meanings; bodies are compared as JSON, as they are of different Go types.
func same(a, b meaning) bool {
	form := func(m meaning) any {
		current := ""
		if m.current != nil {
			current = *m.current
		}
		text, err := json.Marshal([]any{m.lists, m.rest, current})
		return fmt.Sprint(string(text), err)
	}
	return reflect.DeepEqual(form(a), form(b))
}

// onlyOurs reports whether nothing is left that anybody would miss.
func (d document) onlyOurs() bool {
	m, err := d.read()
	if err != nil || strings.Contains(d.text, "#") || m.current != nil && *m.current != "" {
		return false
	}
	for _, list := range m.lists {
		if len(list) > 0 {
			return false
		}
	}
	maps.DeleteFunc(m.rest, func(key string, value any) bool {
		empty, isMap := value.(map[string]any)
		return key == "apiVersion" || key == "kind" || value == nil || isMap && len(empty) == 0
	})
	return len(m.rest) == 0
}

// parse finds where the parts of a document stand.
func parse(text string) (layout, error) {
	l := layout{text: text}
	decoder := yamlnode.NewDecoder(bytes.NewReader([]byte(text)))
	var doc, second yamlnode.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 1 && doc.Content[0].Tag == "!!null" {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) || len(doc.Content) != 1 || doc.Content[0].Kind != yamlnode.MappingNode {
		return l, errors.New("it is not one YAML object")
	}
	l.root = doc.Content[0]
	return l, nil
}
