package apiserver

import (
	"bytes"
	"io"
	"net/http"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// longestBody is how much of a body is looked at: the most that the handlers take.
const longestBody = 3 << 20

// digit is one, also in JSON's and YAML's escapes.
const digit = `(?:[0-9]|\\[uUx]0*3[0-9])`

// hugeExponent finds a number whose exponent has five digits or more. What precedes it in protobuf is its length, which may look
// like a letter when the number is long.
var hugeExponent = regexp.MustCompile(`(?:^|[^0-9A-Za-z.]|` + digit + `{40})(?:` + digit + `|\.)+(?:[eE]|\\[uUx]0*[46]5)(?:[+-]|\\[uUx]0*2[bBdD])?` + digit + `{5}`)

// withQuantities refuses objects with a number such as 1E-999999999. As a quantity of processors or memory the libraries write it
// out, digit by digit, before anybody can look at it: one request would take the processors and all of the memory.
func withQuantities(api http.Handler, codecs apiruntime.NegotiatedSerializer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := genericapirequest.RequestInfoFrom(r.Context())
		if !ok || !bringsQuantities(info) {
			api.ServeHTTP(w, r)
			return
		}
		begin, err := io.ReadAll(io.LimitReader(r.Body, longestBody))
		if err == nil && mayBeHuge(begin) && hugeExponent.Match(begin) {
			err = apierrors.NewBadRequest("a quantity may not have an exponent of more than four digits")
		} else if err != nil {
			err = apierrors.NewBadRequest("the body cannot be read: " + err.Error())
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

// bringsQuantities says whether a request writes an object that may hold quantities. Free text, where such a number is right, is
// in the kinds that hold none.
func bringsQuantities(info *genericapirequest.RequestInfo) bool {
	if !info.IsResourceRequest || info.Resource == "configmaps" || info.Resource == "secrets" {
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
