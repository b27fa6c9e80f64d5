package apiserver

import (
	"bytes"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"

	"fairlead.dev/fairlead/apiserver/registry"
)

// mistakes are how messages begin that the libraries send as failures of the server, though it is the client's request that
// cannot be right: a client would send it again and again, and whoever watches for failures would be woken up.
func mistakes() []string {
	return []string{
		"resourceVersion: Invalid value: ",                           // a get at a version that is none
		"resourceVersion should not be set on objects to be created", // a create of what was read somewhere
		"strconv.ParseUint: parsing ",                                // an update of a version that is none
		"failed to create typed patch object",                        // an apply with fields that the kind does not have
		"failed to convert new object",                               // and one with values that the fields cannot have
		"list element types are not identical",                       // and strategic merge patches that fit nothing
		"expected ", "unexpected slice of slice", "value for key ", "cannot merge lists without", "map: map[", "merging lists cannot yet", "unable to find api field",
	}
}

// notAList is said when one object is asked for in the form of a list.
const notAList = "content is not a list"

// withBlame tells clients which mistakes are theirs.
func withBlame(api http.Handler, codecs apiruntime.NegotiatedSerializer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := genericapirequest.RequestInfoFrom(r.Context())
		if !ok || !info.IsResourceRequest {
			api.ServeHTTP(w, r)
			return
		}
		held := &failure{ResponseWriter: w}
		api.ServeHTTP(responsewriter.WrapForHTTP1Or2(held), r)
		if !held.is {
			return
		}
		if mistake := held.mistake(); mistake != nil {
			w.Header().Del("Content-Length")
			responsewriters.ErrorNegotiated(mistake, codecs, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, w, r)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(held.body.Bytes()) // the client may be gone
	})
}

// failure holds an answer back that says the server failed; any other it passes on.
type failure struct {
	http.ResponseWriter
	is   bool
	body bytes.Buffer
}

var _ responsewriter.UserProvidedDecorator = &failure{}

// Unwrap is part of responsewriter.UserProvidedDecorator.
func (f *failure) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// WriteHeader is part of http.ResponseWriter.
func (f *failure) WriteHeader(code int) {
	if code == http.StatusInternalServerError {
		f.is = true
		return
	}
	f.ResponseWriter.WriteHeader(code)
}

// Write is part of http.ResponseWriter.
func (f *failure) Write(p []byte) (int, error) {
	if f.is {
		return f.body.Write(p)
	}
	return f.ResponseWriter.Write(p)
}

// mistake is the client's in the failure, nil when it is none.
func (f *failure) mistake() error {
	obj, _, err := registry.Codecs.UniversalDeserializer().Decode(f.body.Bytes(), nil, nil)
	status, ok := obj.(*metav1.Status)
	if err != nil || !ok {
		return nil
	}
	if status.Message == notAList {
		return negotiation.NewNotAcceptableError([]string{apiruntime.ContentTypeJSON, apiruntime.ContentTypeYAML, apiruntime.ContentTypeProtobuf})
	}
	for _, known := range mistakes() {
		if strings.HasPrefix(status.Message, known) {
			return apierrors.NewBadRequest(status.Message)
		}
	}
	return nil
}
