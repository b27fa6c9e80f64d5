package definitions

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// depth is how deep objects nest: the pods inside of operators' kinds reach it.
const depth = 11

// words are what descriptions are made of.
var words = strings.Fields(`the a of and to is in that when specifies defines container volume object field value name list
	optional required deprecated must be set defaults cluster namespace selector label port resource reference secret key
	policy request limit maximum minimum number seconds interval if unset empty means more info`)

// schema makes one OpenAPI schema of a given size.
type schema struct {
	*rand.Rand
	left int // bytes yet to be made
}

// root is the schema of a kind with at least one field in spec and in status.
func (s *schema) root() map[string]any {
	fields := map[string]any{
		"apiVersion": s.text("string"), "kind": s.text("string"), "metadata": map[string]any{"type": "object"},
		"spec": map[string]any{"type": "object", "description": s.sentence(20), "properties": map[string]any{
			"replicas": map[string]any{"type": "integer", "format": "int32", "default": 1, "minimum": 0, "description": s.sentence(15)},
			"note":     map[string]any{"type": "string", "description": s.sentence(15)},
		}},
		"status": map[string]any{"type": "object", "description": s.sentence(20), "properties": map[string]any{
			"ready": map[string]any{"type": "boolean", "description": s.sentence(15)},
		}},
	}
	for branch := 0; s.left > 0; branch++ {
		under := "spec"
		if branch%8 == 7 {
			under = "status"
		}
		fields[under].(map[string]any)["properties"].(map[string]any)[fmt.Sprintf("part%d", branch)] = s.object(depth-1, false)
	}
	return map[string]any{"type": "object", "description": s.sentence(30), "properties": fields, "required": []string{"spec"}}
}

// object is a schema of named fields. Rules stand outside of lists only: those inside would need bounds that real ones rarely have.
func (s *schema) object(depth int, listed bool) map[string]any {
	fields := map[string]any{}
	var names []string
	for i := range 2 + s.IntN(9) {
		name := fmt.Sprintf("%s%d", words[s.IntN(len(words))], i)
		names = append(names, name)
		fields[name] = s.field(depth-1, listed)
	}
	o := map[string]any{"type": "object", "description": s.sentence(8 + s.IntN(30)), "properties": fields}
	if s.IntN(3) == 0 {
		o["required"] = names[:1]
	}
	if !listed && s.IntN(6) == 0 {
		o["x-kubernetes-validations"] = []any{map[string]any{
			"rule": fmt.Sprintf("!has(self.%s) || has(self.%s)", names[1], names[0]), "message": s.sentence(8)}}
	}
	s.left -= 60
	return o
}

// field is any schema; near the bottom, or when enough is made, a plain one.
func (s *schema) field(depth int, listed bool) map[string]any {
	roll := s.Float64()
	if depth <= 0 || s.left <= 0 {
		roll = 1
	}
	switch {
	case roll < 0.28:
		return s.object(depth, listed)
	case roll < 0.42:
		s.left -= 60
		return map[string]any{"type": "array", "description": s.sentence(8 + s.IntN(30)), "items": s.field(depth-1, true), "x-kubernetes-list-type": "atomic"}
	case roll < 0.47:
		s.left -= 60
		return map[string]any{"type": "object", "description": s.sentence(8 + s.IntN(20)), "additionalProperties": s.text("string")}
	}
	return s.plain(listed)
}

// plain is a schema of a scalar.
func (s *schema) plain(listed bool) map[string]any {
	switch s.IntN(8) {
	case 0:
		return s.text("boolean")
	case 1:
		p := s.text("integer")
		p["format"], p["minimum"], p["maximum"] = "int32", 0, 65535
		return p
	case 2:
		p := s.text("string")
		p["enum"] = []string{"Always", "Never", "IfNotPresent"}
		if !listed {
			p["default"] = "Always"
		}
		return p
	case 3:
		p := s.text("string")
		p["pattern"], p["maxLength"] = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, 253
		return p
	case 4:
		p := s.text("")
		delete(p, "type")
		p["anyOf"], p["x-kubernetes-int-or-string"] = []any{map[string]any{"type": "integer"}, map[string]any{"type": "string"}}, true
		return p
	}
	return s.text("string")
}

func (s *schema) text(of string) map[string]any {
	s.left -= 60
	return map[string]any{"type": of, "description": s.sentence(6 + s.IntN(30))}
}

func (s *schema) sentence(n int) string {
	picked := make([]string, n)
	for i := range picked {
		picked[i] = words[s.IntN(len(words))]
	}
	text := strings.Join(picked, " ") + "."
	s.left -= len(text) + 20
	return text
}
