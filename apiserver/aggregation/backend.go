package aggregation

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	proxyutil "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/status/remote"
	"k8s.io/streaming/pkg/httpstream"
)

// backend is another server, as an APIService says.
type backend struct {
	server  *Server
	service *apiregistrationv1.APIService
	cert    []byte // what this server shows there
	calls   http.RoundTripper
	wrong   error                   // why there can be no calls
	schema  *atomic.Pointer[string] // where the document of its group is, below /openapi/v3; "": nowhere
}

// backend is who an APIService says, or was if that is the same.
func (s *Server) backend(service *apiregistrationv1.APIService, was *backend) *backend {
	cert, key := s.config.Identity()
	if was != nil && was.service.Generation == service.Generation && was.service.UID == service.UID && was.service.Spec.String() == service.Spec.String() && bytes.Equal(was.cert, cert) {
		return &backend{s, service, cert, was.calls, was.wrong, was.schema}
	}
	b := &backend{server: s, service: service, cert: cert, schema: &atomic.Pointer[string]{}}
	config := remote.BuildTransportConfig(&transport.DialHolder{Dial: s.config.Dial}, cert, key, service)
	b.calls, b.wrong = transport.New(config)
	return b
}

// Handler is next, and the others where a path is of a group of theirs.
func (s *Server) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, "/apis/")
		if !ok || len(*s.remote.Load()) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		group, rest, _ := strings.Cut(rest, "/")
		version, _, _ := strings.Cut(rest, "/")
		if b := (*s.remote.Load())[schema.GroupVersion{Group: group, Version: version}]; b != nil {
			b.proxy(w, r)
			return
		}
		if version == "" && s.serveGroup(w, r, group) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// proxy sends a request on as whoever it is from. What a client says of itself in headers by which servers say that to each other
// does not pass.
func (b *backend) proxy(w http.ResponseWriter, r *http.Request) {
	from, ok := request.UserFrom(r.Context())
	if !ok {
		http.Error(w, "nobody is known to ask", http.StatusInternalServerError)
		return
	}
	at, err := b.resolve()
	if err != nil {
		http.Error(w, fmt.Sprintf("APIService %s: %v", b.service.Name, err), http.StatusServiceUnavailable)
		return
	}
	at.Path, at.RawQuery = r.URL.Path, r.URL.Query().Encode()
	out, cancel := proxyutil.NewRequestForProxy(at, r)
	defer cancel()
	calls := transport.NewAuthProxyRoundTripper(from.GetName(), from.GetUID(), from.GetGroups(), from.GetExtra(), b.calls)
	upgrade := httpstream.IsUpgradeRequest(r)
	if upgrade { // goes round the transport
		transport.SetAuthProxyHeaders(out, from.GetName(), from.GetUID(), from.GetGroups(), from.GetExtra())
	}
	handler := proxy.NewUpgradeAwareHandler(at, calls, true, upgrade, answer{w})
	handler.RejectForwardingRedirects = true
	handler.ServeHTTP(w, out)
}

// resolve is where the other server is.
func (b *backend) resolve() (*url.URL, error) {
	if b.wrong != nil {
		return nil, b.wrong
	}
	to := b.service.Spec.Service
	return b.server.config.Resolve(to.Namespace, to.Name, *to.Port)
}

// aggregator is who asks the others what they serve: somebody with the right of everybody, who may know what groups there are.
var aggregator = &user.DefaultInfo{Name: "system:kube-aggregator", Groups: []string{user.AllAuthenticated}}

// discovery answers upstream's questions for what the other serves, which come as from an administrator.
func (b *backend) discovery(w http.ResponseWriter, r *http.Request) {
	b.proxy(w, r.WithContext(request.WithUser(r.Context(), aggregator)))
}

// patience bounds how long another server may take to say that it is there.
const patience = 5 * time.Second

// ask says whether the other server answers for its group, and why not, with upstream's word for it.
func (b *backend) ask(ctx context.Context) (reason string, err error) {
	at, err := b.resolve()
	if err != nil {
		return "MissingEndpoints", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at.Path = "/apis/" + b.service.Spec.Group + "/" + b.service.Spec.Version
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "FailedDiscoveryCheck", err
	}
	transport.SetAuthProxyHeaders(r, aggregator.GetName(), "", aggregator.GetGroups(), nil)
	got, err := b.calls.RoundTrip(r)
	if err != nil {
		return "FailedDiscoveryCheck", err
	}
	got.Body.Close()
	if got.StatusCode < 200 || got.StatusCode > 299 {
		return "FailedDiscoveryCheck", fmt.Errorf("bad status from %v: %d", at, got.StatusCode)
	}
	return "", nil
}

// judge writes which of the others answer, all asked at once.
func (s *Server) judge(ctx context.Context, all map[schema.GroupVersion]*backend) {
	var asked sync.WaitGroup
	for _, b := range all {
		asked.Go(func() {
			reason, err := b.ask(ctx)
			if err := s.tell(ctx, b.service, reason, err); err != nil && ctx.Err() == nil {
				s.config.Log.Warn("the status of an APIService is not written", "apiservice", b.service.Name, "err", err)
			}
			if err == nil {
				at := b.findSchema(ctx)
				b.schema.Store(&at)
			}
		})
	}
	asked.Wait()
}

// answer writes what went wrong on the way.
type answer struct{ w http.ResponseWriter }

// Object is part of rest.Responder.
func (a answer) Object(code int, obj runtime.Object) { responsewriters.WriteRawJSON(code, obj, a.w) }

// Error is part of rest.Responder.
func (a answer) Error(_ http.ResponseWriter, _ *http.Request, err error) {
	http.Error(a.w, err.Error(), http.StatusServiceUnavailable)
}
