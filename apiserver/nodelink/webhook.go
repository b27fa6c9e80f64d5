package nodelink

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
)

// Outgoing is how webhooks are called: those of Services by way of a node, and none with credentials of the server's own. The library's default
// gives its own to whoever is called by the name of the API's Service, so that who configures a webhook would write as the server
// itself. A redirect is not followed: it would lead the server to addresses that nobody configured (CVE-2020-8561).
func (r Resolver) Outgoing() webhook.AuthenticationInfoResolverWrapper {
	return func(configured webhook.AuthenticationInfoResolver) webhook.AuthenticationInfoResolver {
		return &webhook.AuthenticationInfoResolverDelegator{
			ClientConfigForFunc: func(host string) (*rest.Config, error) {
				return straight(configured.ClientConfigFor(host))
			},
			ClientConfigForServiceFunc: func(name, namespace string, port int) (*rest.Config, error) {
				config, err := straight(configured.ClientConfigForService(name, namespace, port))
				if err == nil {
					config.Dial = r.Dial
				}
				return config, err
			},
		}
	}
}

// straight is a configuration that follows no redirects.
func straight(config *rest.Config, err error) (*rest.Config, error) {
	if err != nil {
		return nil, err
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return noRedirects{next} })
	return config, nil
}

type noRedirects struct{ http.RoundTripper }

// RoundTrip is part of http.RoundTripper.
func (n noRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := n.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode >= 300 && answer.StatusCode < 400 {
		answer.Body.Close()
		return nil, fmt.Errorf("%s answers %s, and a webhook's redirects are not followed: configure the address it is at", r.URL.Host, answer.Status)
	}
	return answer, err
}
