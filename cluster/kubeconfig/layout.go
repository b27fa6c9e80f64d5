package kubeconfig

import (
	"encoding/json"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// layout is a document with the places of its parts. A splice that guesses wrongly is found by the one who asked for it.
type layout struct {
	text string
	root *yamlnode.Node // nil: the document is empty
}

// field is the key and the value of a field of the document, nil without it.
func (l layout) field(key string) (k, v *yamlnode.Node) {
	if l.root == nil {
		return nil, nil
	}
	for i := 0; i < len(l.root.Content); i += 2 {
		if l.root.Content[i].Value == key {
			return l.root.Content[i], l.root.Content[i+1]
		}
	}
	return nil, nil
}

// at is the offset of a place in the text. Columns count characters.
func (l layout) at(line, column int) int {
	offset := l.line(line)
	for i := range l.text[offset:] {
		if column--; column == 0 {
			return offset + i
		}
	}
	return len(l.text)
}

// line is the offset at which a line begins, counted from one.
func (l layout) line(n int) int {
	offset := 0
	for ; n > 1; n-- {
		i := strings.IndexByte(l.text[offset:], '\n')
		if i < 0 {
			return len(l.text)
		}
		offset += i + 1
	}
	return offset
}

func (l layout) splice(from, to int, with string) string { return l.text[:from] + with + l.text[to:] }

// add is the text with one more field: at the end, or in JSON at the beginning.
func (l layout) add(block, flow string) string {
	if l.root != nil && l.root.Style&yamlnode.FlowStyle != 0 {
		at := l.at(l.root.Line, l.root.Column) + 1
		return l.splice(at, at, flow+", ")
	}
	if l.text != "" && !strings.HasSuffix(l.text, "\n") {
		block = "\n" + block
	}
	return l.text + block
}

// insert is the text with an entry put first in a list.
func (l layout) insert(list string, entry map[string]any) (string, error) {
	flow, err := json.Marshal(entry)
	if err != nil {
		return "", err
	}
	block, err := yaml.Marshal([]any{entry})
	if err != nil {
		return "", err
	}
	key, value := l.field(list)
	if key == nil {
		return l.add(list+":\n"+string(block), `"`+list+`": [`+string(flow)+"]"), nil
	}
	at := l.at(value.Line, value.Column)
	switch {
	case value.Kind == yamlnode.SequenceNode && len(value.Content) == 0: // []
		return l.splice(at+1, at+1, string(flow)), nil
	case value.Kind == yamlnode.SequenceNode && value.Style&yamlnode.FlowStyle != 0:
		at = l.at(value.Content[0].Line, value.Content[0].Column)
		return l.splice(at, at, string(flow)+", "), nil
	case value.Kind == yamlnode.SequenceNode:
		margin := strings.Repeat(" ", value.Column-1)
		lines := strings.SplitAfter(strings.TrimSuffix(string(block), "\n"), "\n")
		at = l.line(key.Line + 1)
		return l.splice(at, at, margin+strings.Join(lines, margin)+"\n"), nil
	case value.Tag == "!!null" && value.Value == "": // nothing after the colon
		at = l.at(key.Line, key.Column) + len(list) + 1
		return l.splice(at, at, " ["+string(flow)+"]"), nil
	case value.Tag == "!!null":
		return l.splice(at, at+len(value.Value), "["+string(flow)+"]"), nil
	}
	return "", errUnusual
}

// remove is the text without the entry of a name in a list.
func (l layout) remove(list, name string) (string, error) {
	key, value := l.field(list)
	if key == nil {
		return "", errUnusual
	}
	for i, item := range value.Content {
		if nameOf(item) != name {
			continue
		}
		if value.Style&yamlnode.FlowStyle != 0 {
			return l.removeFlow(value, i)
		}
		from, to := l.line(item.Line), l.end(key, value, i)
		if len(value.Content) == 1 {
			from = l.line(key.Line)
		}
		return l.splice(from, to, ""), nil
	}
	return "", errUnusual
}

// end is where the lines of an item of a block list end. Comments and empty lines belong to what follows.
func (l layout) end(key, list *yamlnode.Node, i int) int {
	to := len(l.text)
	if i+1 < len(list.Content) {
		to = l.line(list.Content[i+1].Line)
	} else {
		for f := 0; f < len(l.root.Content); f += 2 {
			if next := l.root.Content[f]; next.Line > key.Line {
				to = min(to, l.line(next.Line))
			}
		}
	}
	for {
		last := strings.LastIndexByte(strings.TrimSuffix(l.text[:to], "\n"), '\n') + 1
		if line := strings.TrimSpace(l.text[last:to]); last == 0 || line != "" && line[0] != '#' {
			return to
		}
		to = last
	}
}

// removeFlow takes an item out of a list in brackets.
func (l layout) removeFlow(list *yamlnode.Node, i int) (string, error) {
	from := l.at(list.Content[i].Line, list.Content[i].Column)
	if i+1 < len(list.Content) {
		return l.splice(from, l.at(list.Content[i+1].Line, list.Content[i+1].Column), ""), nil
	}
	item := json.NewDecoder(strings.NewReader(l.text[from:]))
	if err := item.Decode(new(any)); err != nil {
		return "", errUnusual
	}
	before := l.text[:from]
	if i > 0 {
		before = strings.TrimSuffix(strings.TrimRight(before, " \t\r\n"), ",")
	}
	return before + l.text[from+int(item.InputOffset()):], nil
}

func nameOf(item *yamlnode.Node) string {
	for i := 0; i+1 < len(item.Content); i += 2 {
		if item.Content[i].Value == "name" {
			return item.Content[i+1].Value
		}
	}
	return ""
}

// setCurrent is the text with another current context.
func (l layout) setCurrent(name *string) (string, error) {
	key, value := l.field(currentContext)
	switch {
	case key == nil && name == nil:
		return l.text, nil
	case key == nil:
		return l.add(currentContext+": "+scalar(*name, 0)+"\n", `"`+currentContext+`": `+scalar(*name, yamlnode.DoubleQuotedStyle)), nil
	case name == nil && l.root.Style&yamlnode.FlowStyle == 0:
		return l.splice(l.line(key.Line), l.line(value.Line+1), ""), nil
	case name == nil:
		name = new(string)
	}
	at := l.at(value.Line, value.Column)
	old := scalar(value.Value, value.Style)
	if value.Style == 0 { // plain
		old = value.Value
	}
	new := scalar(*name, value.Style)
	if old == "" { // nothing after the colon
		at, new = l.at(key.Line, key.Column)+len(currentContext)+1, " "+new
	}
	if !strings.HasPrefix(l.text[at:], old) {
		return "", errUnusual
	}
	return l.splice(at, at+len(old), new), nil
}

// scalar writes a text in a style.
func scalar(text string, style yamlnode.Style) string {
	switch style {
	case yamlnode.DoubleQuotedStyle:
		quoted, _ := json.Marshal(text) // a string always can be
		return string(quoted)
	case yamlnode.SingleQuotedStyle:
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	plain, _ := yaml.Marshal(text)
	return strings.TrimSuffix(string(plain), "\n")
}
