package aggregation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/transport"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// mostSchema bounds what another server may say of itself.
const mostSchema = 16 << 20

// group is how OpenAPI's documents name what the other serves.
func (b *backend) group() string {
	return "apis/" + b.service.Spec.Group + "/" + b.service.Spec.Version
}

// get reads a document of the other server.
func (b *backend) get(ctx context.Context, path string) ([]byte, error) {
	at, err := b.resolve()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at.Path = path
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	transport.SetAuthProxyHeaders(r, aggregator.GetName(), "", aggregator.GetGroups(), nil)
	got, err := b.calls.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s of APIService %s: status %d", path, b.service.Name, got.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(got.Body, mostSchema+1))
	if len(text) > mostSchema {
		return nil, fmt.Errorf("%s of APIService %s: larger than %d bytes", path, b.service.Name, mostSchema)
	}
	return text, err
}

// findSchema says where the document of the other's group is; "" where it has none, or does not say.
func (b *backend) findSchema(ctx context.Context) string {
	text, err := b.get(ctx, "/openapi/v3")
	var index handler3.OpenAPIV3Discovery
	if err != nil || json.Unmarshal(text, &index) != nil {
		return ""
	}
	at := index.Paths[b.group()].ServerRelativeURL
	if !strings.HasPrefix(at, "/openapi/v3/"+b.group()) { // it speaks of nothing else
		return ""
	}
	return at
}

// Schemas is part of openapi.Others.
func (s *Server) Schemas() map[string]string {
	all := map[string]string{}
	for _, b := range *s.remote.Load() {
		if at := b.schema.Load(); at != nil && *at != "" {
			all[b.group()] = *at
		}
	}
	return all
}

// Schema is part of openapi.Others.
func (s *Server) Schema(group string, w http.ResponseWriter, r *http.Request) {
	if b := s.named(group); b != nil {
		b.proxy(w, r.WithContext(request.WithUser(r.Context(), aggregator)))
		return
	}
	http.NotFound(w, r)
}

// Swagger is part of openapi.Others.
func (s *Server) Swagger(ctx context.Context, group string) (*spec.Swagger, error) {
	b := s.named(group)
	if b == nil {
		return nil, fmt.Errorf("no server answers for %s", group)
	}
	text, err := b.get(ctx, "/openapi/v2")
	if err != nil {
		return nil, err
	}
	said := &spec.Swagger{}
	if err := json.Unmarshal(text, said); err != nil {
		return nil, fmt.Errorf("/openapi/v2 of APIService %s: %w", b.service.Name, err)
	}
	return said, nil
}

// named is who answers for a group such as "apis/metrics.k8s.io/v1beta1".
func (s *Server) named(group string) *backend {
	gv, err := schema.ParseGroupVersion(strings.TrimPrefix(group, "apis/"))
	if err != nil {
		return nil
	}
	return (*s.remote.Load())[gv]
}
