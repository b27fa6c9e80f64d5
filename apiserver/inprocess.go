package apiserver

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"sync/atomic"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver/loopback"
	"fairlead.dev/fairlead/pki"
)

// inProcess is config for calling api directly rather than over the network, as whoever a source speaks for; nil: by the token of config.
func inProcess(config *rest.Config, as *pki.Source, api http.Handler) *rest.Config {
	direct := rest.CopyConfig(config)
	transport := &loopback.Transport{Handler: api}
	if as != nil {
		transport.Certs = func() []*x509.Certificate { return []*x509.Certificate{as.Current().Leaf} }
	}
	direct.TLSClientConfig, direct.Transport = rest.TLSClientConfig{}, transport
	return direct
}

// self is the API as the server itself uses it: a client that calls it in this process, and caches of what the server decides
// by, such as roles and policies. Both are there before the server is, which is assembled with them; the caches are filled when it
// serves, and it is not ready before they are.
type self struct {
	client    kubernetes.Interface
	config    *rest.Config
	informers informers.SharedInformerFactory
	groups    []*genericapiserver.APIGroupInfo // the kinds that are built in; set when the server is assembled
	created   *creations                       // likewise
	api       atomic.Pointer[http.Handler]     // nil: the server is not assembled yet
}

func newSelf(id *identity) (*self, error) {
	s := &self{}
	s.config = inProcess(id.client(), nil, s)
	s.config.Transport = impatient{s.config.Transport}
	var err error
	if s.client, err = kubernetes.NewForConfig(s.config); err != nil {
		return nil, fmt.Errorf("api server: loopback client: %w", err)
	}
	s.informers = informers.NewSharedInformerFactory(s.client, 0)
	return s, nil
}

// impatient has nobody wait a second, as client-go does when it is told to come again, ten times: at a
// start the server is ready a moment later, at a stop never, and whoever asks comes again by himself.
type impatient struct{ http.RoundTripper }

// RoundTrip is part of http.RoundTripper.
func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Header.Del("Retry-After")
	}
	return response, err
}

// ServeHTTP is part of http.Handler.
func (s *self) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if api := s.api.Load(); api != nil {
		(*api).ServeHTTP(w, r)
		return
	}
	http.Error(w, "the API server is being assembled", http.StatusServiceUnavailable)
}

// serves says that the server is assembled.
func (s *self) serves(api http.Handler) { s.api.Store(&api) }
