package auth

import (
	"crypto/x509"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	certauth "k8s.io/apiserver/pkg/authentication/request/x509"
)

// publicPaths answer without any credential: load balancers and probes have none (upstream's
// system:public-info-viewer).
func publicPaths() []string { return []string{"/healthz", "/livez", "/readyz", "/version"} }

// Authenticator accepts client certificates signed by one of roots, tokens, and nobody on the public paths.
// Every named user also becomes a member of system:authenticated.
func Authenticator(roots *x509.CertPool, tokens authenticator.Token) authenticator.Request {
	options := certauth.DefaultVerifyOptions()
	options.Roots = roots
	var open []apiserver.AnonymousAuthCondition
	for _, path := range publicPaths() {
		open = append(open, apiserver.AnonymousAuthCondition{Path: path})
	}
	known := union.New(
		newVerdicts(group.NewAuthenticatedGroupAdder(certauth.New(options, certauth.CommonNameUserConversion))),
		group.NewAuthenticatedGroupAdder(bearertoken.New(tokens)),
		group.NewAuthenticatedGroupAdder(websocket.NewProtocolAuthenticator(tokens)),
	)
	return union.NewFailOnError(known, anonymous.NewAuthenticator(open)) // who shows what is not good does not pass as nobody
}
