package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
)

// Secrets are findings about the Secrets that an Ingress names, at a time: missing, broken, expired, for other hosts, with a key that
// does not fit, without users.
func Secrets(ing *networkingv1.Ingress, secret func(types.NamespacedName) *corev1.Secret, now time.Time) []Finding {
	var list []Finding
	find := func(code, where, sentence, remedy string) {
		list = append(list, Finding{Ingress: api.Name(ing), Code: code, Level: Wrong, Where: where, Sentence: sentence, Remedy: remedy})
	}
	for i := range ing.Spec.TLS {
		t, where := &ing.Spec.TLS[i], fmt.Sprintf("spec.tls[%d]", i)
		if t.SecretName == "" {
			continue
		}
		name := types.NamespacedName{Namespace: ing.Namespace, Name: t.SecretName}
		content := secret(name)
		if content == nil {
			find(SecretMissing, where, fmt.Sprintf("there is no Secret %s: clients get a certificate that they do not know", name), "Create it, of type kubernetes.io/tls")
			continue
		}
		if code, sentence, remedy := certificate(content, t.Hosts, now); code != "" {
			find(code, where, fmt.Sprintf("Secret %s %s", name, sentence), remedy)
		}
	}
	s, _ := read(ing)
	if name, ok := ingressrefs.Annotated(ing, ingressrefs.AnnotationBackendSecret); s.secure && ok {
		content := secret(name)
		switch {
		case content == nil:
			find(SecretMissing, "proxy-ssl-secret", fmt.Sprintf("there is no Secret %s: requests get 503", name), "Create it, with ca.crt, and with tls.crt and tls.key if backends ask for a certificate")
		case s.sslVerify && !x509.NewCertPool().AppendCertsFromPEM(content.Data[corev1.ServiceAccountRootCAKey]):
			find(SecretWrong, "proxy-ssl-secret", fmt.Sprintf("Secret %s has no certificate in ca.crt: requests get 503", name), "Put the authority's certificate there, in PEM")
		}
	}
	if name, ok := ingressrefs.Annotated(ing, ingressrefs.AnnotationClientSecret); ok && s.clientSecret != "" && s.clientVerify != "off" {
		if code, problem, remedy := authorities(secret(name), x509.NewCertPool()); code != "" {
			find(code, "auth-tls-secret", fmt.Sprintf("Secret %s %s: requests get 503", name, problem), remedy)
		}
	}
	name, ok := ingressrefs.Annotated(ing, ingressrefs.AnnotationAuthSecret)
	if s.authType == "" || !ok {
		return list
	}
	switch content := secret(name); {
	case content == nil:
		find(SecretMissing, "auth-secret", fmt.Sprintf("there is no Secret %s: nobody is let in", name), "Create it, with the users")
	case !s.authByUser && len(content.Data["auth"]) == 0:
		find(SecretWrong, "auth-secret", fmt.Sprintf("Secret %s has no key auth: nobody is let in", name), "Put an htpasswd file there, or say auth-secret-type: auth-map")
	}
	return list
}

// certificate says what is wrong with a Secret that is to have a certificate for some hosts; no code: nothing.
func certificate(secret *corev1.Secret, hosts []string, now time.Time) (code, sentence, remedy string) {
	const renew = "Renew it: what serves takes a new one at once"
	if secret.Type != corev1.SecretTypeTLS && (len(secret.Data[corev1.TLSCertKey]) == 0 || len(secret.Data[corev1.TLSPrivateKeyKey]) == 0) {
		return SecretWrong, fmt.Sprintf("is of type %s and has no tls.crt and tls.key", secret.Type), "Create it by 'kubectl create secret tls'"
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return SecretWrong, "has no certificate with its key (clients get the one that it had before, if it had one): " + strings.TrimPrefix(err.Error(), "tls: "), "Create it anew of a certificate and the key that it was made for"
	}
	leaf := pair.Leaf
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return SecretWrong, fmt.Sprintf("has a certificate that cannot be read: %v", err), "Create it anew"
		}
	}
	switch {
	case now.After(leaf.NotAfter):
		return CertificateExpired, "has a certificate that expired at " + leaf.NotAfter.UTC().Format(time.RFC3339), renew
	case now.Before(leaf.NotBefore):
		return CertificateEarly, "has a certificate that is valid from " + leaf.NotBefore.UTC().Format(time.RFC3339), "Wait until then, or create another"
	}
	var foreign []string
	for _, host := range hosts {
		if !covers(leaf, host) {
			foreign = append(foreign, host)
		}
	}
	if len(foreign) > 0 {
		return CertificateHost, fmt.Sprintf("has a certificate for %s, not for %s", strings.Join(leaf.DNSNames, ", "), strings.Join(foreign, ", ")), "Create one for these hosts as well"
	}
	return "", "", ""
}

// covers reports whether a certificate is for a host, or for the same wildcard.
func covers(leaf *x509.Certificate, host string) bool {
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		host = "a-name-below." + rest
	}
	return leaf.VerifyHostname(host) == nil
}
