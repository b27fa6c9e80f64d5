package ingress

import (
	"crypto/x509"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/network/l7/route"
)

// revoked is the key of a Secret with certificates that are not to be trusted any more.
const revoked = "ca.crl"

// certificates adds that clients have to show one. Where the authorities are not known nothing is served.
func (d *derivation) certificates() {
	s := d.settings
	if s.clientSecret == "" || s.closed != "" {
		return
	}
	if s.clientVerify == "off" { // nobody is asked, and so nobody may say what was found out
		d.base.Request.Remove = append(slices.Clip(d.base.Request.Remove), "Ssl-Client-Verify", "Ssl-Client-Subject-Dn", "Ssl-Client-Issuer-Dn", "Ssl-Client-Cert")
		return
	}
	name, _ := ingressrefs.Annotated(d.ing, ingressrefs.AnnotationClientSecret)
	d.uses = append(d.uses, name)
	a := &route.CertificateAuth{
		CAs: x509.NewCertPool(), Depth: s.clientDepth, Optional: s.clientVerify == "optional", Unverified: s.clientVerify == "optional_no_ca",
		ErrorPage: s.clientError, Pass: s.clientPass,
	}
	if d.world.Secret != nil {
		content := d.world.Secret(name)
		if _, problem, _ := authorities(content, a.CAs); problem != "" {
			s.closed = "auth-tls-secret"
			return
		}
	}
	d.asks, d.base.Certificate = true, a
}

// authorities adds those of a Secret to a pool, or says why that cannot be: as a code, what is so of the Secret, and what to do.
func authorities(s *corev1.Secret, pool *x509.CertPool) (code, problem, remedy string) {
	switch {
	case s == nil:
		return SecretMissing, "does not exist", "Create it, with the authorities' certificates in ca.crt"
	case len(s.Data[revoked]) > 0:
		return SecretWrong, fmt.Sprintf("has %s, and lists of revoked certificates are not looked at", revoked), "Remove it, and have certificates that live no longer than they may"
	case !pool.AppendCertsFromPEM(s.Data[corev1.ServiceAccountRootCAKey]):
		return SecretWrong, "has no certificate in ca.crt", "Put the authorities' certificates there, in PEM"
	}
	return "", "", ""
}
