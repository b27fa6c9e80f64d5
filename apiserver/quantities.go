package apiserver

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"
)

// longestBody is how much of a body is looked at: the most that the handlers take.
const longestBody = 3 << 20

// deepest is how far objects in a body may be inside each other; the handlers take no more either.
const deepest = 10000

var (
	// suspect is part of any text with a number whose exponent has five digits or more, in JSON's and YAML's escapes too, and of
	// some without, such as one uid in a hundred.
	suspect = regexp.MustCompile(`(?i)(?:[0-9.]|\\[ux]0*(?:3[0-9]|2e))(?:e|\\[ux]0*[46]5)(?:[+-]|\\[ux]0*2[bd])?(?:[0-9]|\\[ux]0*3[0-9]){5}`)
	// huge is such a number and nothing else.
	huge = regexp.MustCompile(`^\s*[+-]?[0-9.]+[eE][+-]?[0-9]{5,}\s*$`)
	// hugeField is one as a whole field in protobuf, where no name tells what the field means: the digits are more by two, so that
	// no short name in hexadecimal digits is taken for one.
	hugeField = regexp.MustCompile(`(?:[^0-9A-Za-z._-]|[0-9]{40})[+-]?[0-9.]+[eE][+-]?[0-9]{7,}(?:[^0-9A-Za-z._-]|$)`)
)

// amountPath is a JSON patch's name of a field of amounts or of one inside it.
var amountPath = regexp.MustCompile(`"path"\s*:\s*"[^"]*/(?:` + strings.Join(slices.Sorted(maps.Keys(amounts)), "|") + `)[/"]`)

// amounts are the fields that hold quantities, at any depth.
var amounts = map[string]bool{
	"limits": true, "requests": true, "overhead": true, "capacity": true, "allocatable": true, "allocatedResources": true,
	"sizeLimit": true, "divisor": true, "hard": true, "used": true,
}

// withQuantities refuses objects with a quantity such as 1E-999999999. The libraries write it out, digit by digit, before anybody
// can look at it: one request would take the processors and all of the memory.
func withQuantities(api http.Handler, codecs apiruntime.NegotiatedSerializer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := genericapirequest.RequestInfoFrom(r.Context())
		if !ok || !bringsQuantities(info) {
			api.ServeHTTP(w, r)
			return
		}
		begin, err := io.ReadAll(io.LimitReader(r.Body, longestBody))
		if err != nil {
			err = apierrors.NewBadRequest("the body cannot be read: " + err.Error())
		} else if mayBeHuge(begin) && suspect.Match(begin) && hasHuge(begin, r.Header.Get("Content-Type")) {
			err = apierrors.NewBadRequest("a quantity may not have an exponent of more than four digits")
		}
		if err != nil {
			responsewriters.ErrorNegotiated(err, codecs, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, w, r)
			return
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(begin), r.Body), r.Body}
		api.ServeHTTP(w, r)
	})
}

// bringsQuantities says whether a request writes an object that may hold quantities.
func bringsQuantities(info *genericapirequest.RequestInfo) bool {
	if !info.IsResourceRequest || info.Resource == "configmaps" || info.Resource == "secrets" {
		return false
	}
	switch info.Subresource { // what follows there is a stream for somebody else
	case "exec", "attach", "portforward", "proxy", "log":
		return false
	}
	return info.Verb == "create" || info.Verb == "update" || info.Verb == "patch"
}

// mayBeHuge is a quick look that nearly every body passes: without an escape, an exponent has five digits in a row.
func mayBeHuge(body []byte) bool {
	digits := 0
	for i, b := range body {
		switch {
		case b == '\\':
			return true
		case b < '0' || b > '9':
			digits = 0
		default:
			if digits++; digits == 5 && i >= 5 && bytes.IndexByte([]byte("eE+-"), body[i-5]) >= 0 {
				return true
			}
		}
	}
	return false
}

// hasHuge reports whether a body has a quantity with a huge exponent. One that is neither JSON nor YAML nor protobuf has none.
func hasHuge(body []byte, contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	if strings.HasSuffix(kind, "protobuf") {
		return hugeField.Match(body)
	}
	if strings.HasSuffix(kind, "yaml") {
		text, err := yaml.YAMLToJSON(body)
		if err != nil {
			return false // the handlers cannot read it either
		}
		body = text
	}
	// A JSON patch names its field in a value of its own.
	counts := amountPath.Match(body)
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	found, err := hugeIn(d, counts, 0)
	return err == nil && found
}

// hugeIn reads one value, every field of it even if it stands there twice. It stops at the first huge quantity, which counts
// within a field of amounts.
func hugeIn(d *json.Decoder, counts bool, depth int) (bool, error) {
	token, err := d.Token()
	if err != nil || depth > deepest {
		return false, err
	}
	switch v := token.(type) {
	case string:
		return counts && huge.MatchString(v), nil
	case json.Number:
		return counts && huge.MatchString(v.String()), nil
	case json.Delim:
		for d.More() {
			counts := counts
			if v == '{' {
				key, err := d.Token()
				if err != nil {
					return false, err
				}
				name, _ := key.(string) // always is one
				counts = counts || amounts[name]
			}
			if found, err := hugeIn(d, counts, depth+1); found || err != nil {
				return found, err
			}
		}
		_, err = d.Token() // the end
	}
	return false, err
}
