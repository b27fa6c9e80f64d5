package auth

import (
	"crypto/x509"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/union"
	certauth "k8s.io/apiserver/pkg/authentication/request/x509"
)

// publicPaths answer without any credential: load balancers and probes have none (upstream's
// system:public-info-viewer).
func publicPaths() []string { return []string{"/healthz", "/livez", "/readyz", "/version"} }

// Authenticator accepts client certificates signed by one of roots, and nobody on the public paths.
// Every named user also becomes a member of system:authenticated.
func Authenticator(roots *x509.CertPool) authenticator.Request {
	options := certauth.DefaultVerifyOptions()
	options.Roots = roots
	var open []apiserver.AnonymousAuthCondition
	for _, path := range publicPaths() {
		open = append(open, apiserver.AnonymousAuthCondition{Path: path})
	}
	return union.New(
		newVerdicts(group.NewAuthenticatedGroupAdder(certauth.New(options, certauth.CommonNameUserConversion))),
		anonymous.NewAuthenticator(open),
	)
}
