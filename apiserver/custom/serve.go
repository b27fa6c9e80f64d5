package custom

import (
	"net/http"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
)

// ServeHTTP answers what no built-in group answers. Custom resources wait until the definitions of the
// start are known: a client that comes early gets its answer a moment later, not "not found".
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/apis/") && !isDefinitionPath(r.URL.Path) {
		select {
		case <-s.synced:
		case <-r.Context().Done():
			return
		}
	}
	s.api.GenericAPIServer.UnprotectedHandler().ServeHTTP(w, r)
}

// isDefinitionPath says whether a path belongs to the definitions themselves.
func isDefinitionPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/apis/"+apiextensions.GroupName)
	return ok && (rest == "" || rest[0] == '/')
}
