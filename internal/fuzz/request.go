package fuzz

import (
	"math/rand/v2"
	"net/url"
	"strings"
)

const (
	typeJSON     = "application/json"
	typeYAML     = "application/yaml"
	typeProtobuf = "application/vnd.kubernetes.protobuf"
	typeCBOR     = "application/cbor"
)

// request is one that is sent.
type request struct {
	target      target
	method      string
	path        string
	query       url.Values
	contentType string
	accept      string
	body        string
	long        bool // it has no end of its own
}

func methods() []string {
	return []string{"GET", "GET", "POST", "POST", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS"}
}

func contentTypes() []string {
	return []string{typeJSON, typeJSON, typeJSON, typeYAML, typeProtobuf, typeProtobuf, typeCBOR, "", "nonsense", "text/plain", "application/json; charset=utf-16",
		"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json;stream=watch", "application/vnd.kubernetes.protobuf;as=Table"}
}

func patchTypes() []string {
	return []string{"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
		"application/apply-patch+yaml", "application/apply-patch+cbor", typeJSON, typeProtobuf, "", "application/unknown-patch"}
}

func accepts() []string {
	return []string{typeJSON, typeJSON, typeYAML, typeProtobuf, typeCBOR, "", "*/*", "nonsense", "text/html", "application/json;q=x", "application/json;stream=watch",
		"application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io", "application/json;as=Nothing;v=v1;g=meta.k8s.io",
		"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/cbor;as=Table;v=v1;g=meta.k8s.io", "application/yaml;as=Table;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io"}
}

// options are query parameters with values that are right, wrong or neither.
func options() map[string][]string {
	long := strings.Repeat("x", 300)
	return map[string][]string{
		"limit":                {"-1", "0", "1", "9223372036854775807", "99999999999999999999", "x", ""},
		"continue":             {"x", "", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vLi4ifQ==", long, "%ff"},
		"resourceVersion":      {"0", "1", "-1", "x", "", "99999999999", "18446744073709551616", "007"},
		"resourceVersionMatch": {"Exact", "NotOlderThan", "x", ""},
		"timeoutSeconds":       {"1", "-1", "x", "99999999999999999999", ""},
		"timeout":              {"1s", "-1s", "x", "0"},
		"watch":                {"true", "1", "x", "false", ""},
		"sendInitialEvents":    {"true", "false", "x"},
		"allowWatchBookmarks":  {"true", "x"},
		"fieldSelector":        {"metadata.name=x", "nothing=x", "=", "metadata.name", "a=b,c!=d", "metadata.namespace=fuzz,metadata.name!=", `metadata.name=\`, long, "spec.nodeName=x", "status.phase=Running"},
		"labelSelector":        {"a=b", "a in (b", "!", "a,!b,c notin (d)", "=", "a>1", long + "=x", "a=" + long, "a in ()", "%"},
		"dryRun":               {"All", "x", "", "All,All"},
		"fieldManager":         {"m", long, "", "\x00", "ä"},
		"fieldValidation":      {"Strict", "Warn", "Ignore", "x"},
		"force":                {"true", "false", "x"},
		"propagationPolicy":    {"Foreground", "Background", "Orphan", "x", ""},
		"gracePeriodSeconds":   {"0", "-1", "x", "99999999999999999999", "30"},
		"orphanDependents":     {"true", "x"},
		"pretty":               {"true", "x"},
		"includeObject":        {"None", "Metadata", "Object", "x"},
		"export":               {"true"},
		"tailLines":            {"-1", "x", "1"},
		"sinceSeconds":         {"-1", "x"},
		"sinceTime":            {"x", "2026-01-01T00:00:00Z"},
		"limitBytes":           {"-1", "x", "1"},
		"container":            {"x", "", long},
		"command":              {"x", ""},
		"ports":                {"80", "x", "-1"},
		"path":                 {"x", "//", "/../.."},
	}
}

// roll makes up a request to a target.
func roll(dice *rand.Rand, t target, corpus *corpus) *request {
	r := &request{target: t, method: pick(dice, methods()), query: url.Values{}, accept: pick(dice, accepts()), contentType: pick(dice, contentTypes())}
	name := pick(dice, names())
	if t.connects {
		name = prefix + "absent" // nothing is to be dialled at an address made up here
	}
	switch {
	case t.subresource == "" && (r.method == "POST" || r.method == "GET" && dice.IntN(2) == 0):
		r.path = t.collection()
	case t.subresource == "" && r.method == "DELETE" && t.namespaced && dice.IntN(8) == 0:
		r.path = t.collection()
	case dice.IntN(10) == 0 && (r.method == "GET" || t.namespaced):
		r.path = t.named(pick(dice, strangeNames()))
	default:
		r.path = t.named(name)
	}
	keys := corpus.options
	for range dice.IntN(4) {
		key := pick(dice, keys)
		r.query[key] = append(r.query[key], pick(dice, corpus.values[key]))
	}
	r.long = r.method == "GET" && (r.query.Has("watch") || t.connects)
	if r.method == "PATCH" {
		r.contentType = pick(dice, patchTypes())
		r.body = corpus.patch(dice, t, name, r.contentType)
	} else if r.method != "GET" || dice.IntN(10) == 0 {
		r.body = corpus.body(dice, t, name, r.contentType)
	}
	return r
}
