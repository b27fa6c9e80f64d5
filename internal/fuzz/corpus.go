package fuzz

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// corpus is what requests are made of: objects as the server itself tells them, and values that fit nowhere.
type corpus struct {
	options []string
	values  map[string][]string

	mu      sync.Mutex
	objects map[string][]string // as JSON, by kind
	encoded map[string][]string // as protobuf, by kind
}

func newCorpus() *corpus {
	values := options()
	return &corpus{options: slices.Sorted(maps.Keys(values)), values: values, objects: map[string][]string{}, encoded: map[string][]string{}}
}

// keep remembers an object that the server told.
func (c *corpus) keep(into map[string][]string, kind, object string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := into[kind]; len(have) < 50 && len(object) < 64<<10 {
		into[kind] = append(have, object)
	}
}

func (c *corpus) take(dice *rand.Rand, from map[string][]string, kind string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := from[kind]; len(have) > 0 {
		return pick(dice, have)
	}
	return ""
}

// strangeBodies are no objects at all.
func strangeBodies() []string {
	return []string{"", "null", "{}", "[]", `""`, "0", "true", "{", `{"kind":`, `{"metadata":null}`, `{"kind":"Status","apiVersion":"v1"}`, "---\n---\n", "\xff\xfe\x00", "k8s\x00", "k8s\x00\x0a\x00",
		"k8s\x00\x0a\xff\xff\xff\xff\x0f", "\xd9\xd9\xf7", "\xd9\xd9\xf7\xa1", `{"kind":"List","apiVersion":"v1","items":[null]}`, strings.Repeat("[", 20000), strings.Repeat(`{"a":`, 20000), strings.Repeat("x", 4<<20),
		"a: &a [*a]", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]",
		`{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"x"},"propagationPolicy":"x"}`, `{"preconditions":{"resourceVersion":"x"},"gracePeriodSeconds":-1}`}
}

// strangeValues take the place of any value.
func strangeValues() []any {
	return []any{nil, "", "x", -1, 0, 1, 1e300, 65536, 2147483648, -9223372036854775808, 0.5, true, []any{}, map[string]any{}, []any{nil}, []any{map[string]any{}}, map[string]any{"": ""}, map[string]any{"x": nil},
		strings.Repeat("x", 300), "\x00", "ä", "999999999999999999999E+999999999", "127.0.0.0/33", "::ffff:127.0.0.1", "0x1", "2026-13-01T00:00:00Z", "$(A)", "../..", "{{", "[", "(?!"}
}

// body is an object for a target, more or less.
func (c *corpus) body(dice *rand.Rand, t target, name, contentType string) string {
	switch {
	case dice.IntN(5) == 0:
		return pick(dice, strangeBodies())
	case contentType == typeProtobuf:
		return damage(dice, c.take(dice, c.encoded, t.kind))
	case dice.IntN(8) == 0:
		return damage(dice, c.object(dice, t, name))
	}
	return c.object(dice, t, name)
}

// object is a mutation of one that the server told, under the given name.
func (c *corpus) object(dice *rand.Rand, t target, name string) string {
	obj := map[string]any{}
	if text := c.take(dice, c.objects, t.kind); text == "" || json.Unmarshal([]byte(text), &obj) != nil {
		obj = map[string]any{"metadata": map[string]any{}, "spec": map[string]any{}}
	}
	obj["apiVersion"], obj["kind"] = t.gv.String(), t.kind
	if meta, ok := obj["metadata"].(map[string]any); ok {
		meta["name"] = name
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields"} {
			if dice.IntN(4) > 0 {
				delete(meta, field)
			}
		}
		if t.namespaced {
			meta["namespace"] = Namespace
		}
	}
	for range dice.IntN(4) {
		mutate(dice, obj)
	}
	text, err := json.Marshal(obj)
	if err != nil {
		return "{}"
	}
	return string(text)
}

// mutate changes one value somewhere inside of an object.
func mutate(dice *rand.Rand, obj map[string]any) {
	for {
		key, ok := anyKey(dice, obj)
		if !ok {
			obj["x"] = pick(dice, strangeValues())
			return
		}
		inner := obj[key]
		if list, ok := inner.([]any); ok && len(list) > 0 && dice.IntN(4) > 0 {
			if dice.IntN(3) == 0 {
				obj[key] = append(list, list[0])
				return
			}
			i := dice.IntN(len(list))
			if inner, ok = list[i].(map[string]any); !ok {
				list[i] = pick(dice, strangeValues())
				return
			}
			obj = list[i].(map[string]any)
			continue
		}
		if next, ok := inner.(map[string]any); ok && len(next) > 0 && dice.IntN(5) > 0 {
			obj = next
			continue
		}
		if dice.IntN(5) == 0 {
			delete(obj, key)
		} else if key != "name" && key != "kind" || dice.IntN(10) == 0 {
			obj[key] = pick(dice, strangeValues())
		}
		return
	}
}

func anyKey(dice *rand.Rand, obj map[string]any) (string, bool) {
	if len(obj) == 0 {
		return "", false
	}
	return pick(dice, slices.Sorted(maps.Keys(obj))), true
}

// damage cuts or flips bytes.
func damage(dice *rand.Rand, text string) string {
	b := []byte(text)
	if len(b) == 0 {
		return ""
	}
	for range 1 + dice.IntN(3) {
		switch dice.IntN(3) {
		case 0:
			b = b[:dice.IntN(len(b)+1)]
		case 1:
			if len(b) > 0 {
				b[dice.IntN(len(b))] ^= byte(1 << dice.IntN(8))
			}
		}
	}
	return string(b)
}

// patch is one of the type, that fits or not.
func (c *corpus) patch(dice *rand.Rand, t target, name, contentType string) string {
	if dice.IntN(5) == 0 {
		return pick(dice, strangeBodies())
	}
	if !strings.HasPrefix(contentType, "application/json-patch") {
		return c.object(dice, t, name)
	}
	paths := []string{"", "/", "/metadata", "/metadata/labels", "/metadata/labels/a", "/metadata/annotations/-", "/spec", "/spec/x", "/spec/ports/-", "/spec/ports/0", "/spec/ports/-1", "/spec/containers/99999999999999999999",
		"/status", "/kind", "/apiVersion", "/metadata/name", "/metadata/managedFields", "/metadata/finalizers/-", "/~2", "x", "/metadata/ownerReferences"}
	var ops []map[string]any
	for range dice.IntN(5) {
		ops = append(ops, map[string]any{"op": pick(dice, []string{"add", "remove", "replace", "move", "copy", "test", "x", ""}),
			"path": pick(dice, paths), "from": pick(dice, paths), "value": pick(dice, strangeValues())})
	}
	text, err := json.Marshal(ops)
	if err != nil {
		return "[]"
	}
	return string(text)
}
