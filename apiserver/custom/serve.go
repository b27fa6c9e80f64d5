package custom

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	apiextensionshelpers "k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
)

// ServeHTTP answers what no built-in group answers. Custom resources wait until the definitions of the
// start are known: a client that comes early gets its answer a moment later, not "not found".
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if isDefinitionPath(r.URL.Path) {
		s.serveDefinitions(w, r, info)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/apis/") {
		select {
		case <-s.synced:
		case <-r.Context().Done():
			return
		}
		if info != nil && writesProtobuf(r) {
			err := negotiation.NewUnsupportedMediaTypeError([]string{runtime.ContentTypeJSON, runtime.ContentTypeYAML})
			responsewriters.ErrorNegotiated(err, extensions.Codecs, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, w, r)
			return
		}
		if info != nil && info.IsResourceRequest {
			s.serveObjects(w, r, info)
			return
		}
	}
	s.api.GenericAPIServer.UnprotectedHandler().ServeHTTP(w, r)
}

// serveDefinitions answers for the definitions themselves. What takes a multiple of their size, writing them and listing them whole,
// is done one at a time.
func (s *Server) serveDefinitions(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	api := s.api.GenericAPIServer.UnprotectedHandler()
	if info == nil || !info.IsResourceRequest {
		api.ServeHTTP(w, r)
		return
	}
	switch info.Verb {
	case "get", "list", "watch":
		r, lean := metadataOnly(r)
		if info.Verb == "list" && !lean {
			s.writes.serve(w, r, s.generic.MaxRequestBodyBytes, api)
			return
		}
		api.ServeHTTP(w, r)
	default:
		s.writes.serve(w, r, s.generic.MaxRequestBodyBytes, api)
	}
}

// serveObjects answers for the objects of a definition, by the machine that serves them.
func (s *Server) serveObjects(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	d, err := s.Definitions().Get(info.Resource + "." + info.APIGroup)
	if err == nil && !serves(d, info) {
		err = apierrors.NewNotFound(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, "")
	}
	if err == nil {
		if err = s.fleet.serve(w, r, d, info.Verb == "watch"); err == nil {
			s.uses.note(info)
		}
	}
	switch {
	case err == nil:
	case apierrors.IsNotFound(err), storage.IsNotFound(err):
		http.NotFound(w, r)
	default:
		responsewriters.ErrorNegotiated(apierrors.NewInternalError(fmt.Errorf("serve %s: %w", info.Resource, err)), extensions.Codecs,
			schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, w, r)
	}
}

// serves says whether there is anything at a path of a definition's group. Nothing is built for a path where there is not.
func serves(d *apiextensionsv1.CustomResourceDefinition, info *request.RequestInfo) bool {
	return apiextensionshelpers.HasServedCRDVersion(d, info.APIVersion) &&
		(apiextensionshelpers.IsCRDConditionTrue(d, apiextensionsv1.NamesAccepted) || apiextensionshelpers.IsCRDConditionTrue(d, apiextensionsv1.Established))
}

// writesProtobuf says whether a request brings a custom resource in protobuf, which has no form for it. The handlers behind would
// fail on it.
func writesProtobuf(r *http.Request) bool {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == runtime.ContentTypeProtobuf
}

// isDefinitionPath says whether a path belongs to the definitions themselves.
func isDefinitionPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/apis/"+apiextensions.GroupName)
	return ok && (rest == "" || rest[0] == '/')
}
