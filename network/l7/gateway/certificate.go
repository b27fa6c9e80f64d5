package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// caKey is the key of a ConfigMap that holds a bundle of certificates, in PEM.
const caKey = "ca.crt"

// terminate finds out how a listener ends TLS.
func (d *derivation) terminate(l *listener) {
	l.end = &route.Termination{}
	var refs []gw.SecretObjectReference
	if l.tls != nil {
		refs = l.tls.CertificateRefs
	}
	if len(refs) == 0 {
		l.resolved = no(gw.ListenerReasonInvalidCertificateRef, "tls.certificateRefs names no Secret with a certificate")
	}
	for _, ref := range refs {
		name, problem := d.keyPair(l.gateway, l.referrer(), ref)
		switch {
		case problem == nil:
			l.end.Certificates = append(l.end.Certificates, route.Certificate{Secret: name})
			l.dated = append(l.dated, dated{name, d.memory.pairs[d.view.Secret(name)]})
		case problem.reason == spoilt && (d.before.good[name] || l.programmedBefore()):
			d.memory.good[name] = true
			l.end.Certificates = append(l.end.Certificates, route.Certificate{Secret: name})
			l.resolved = no(gw.ListenerReasonInvalidCertificateRef, problem.message+"; until it can be, the certificate that it had before is shown")
		case problem.reason == permission:
			l.resolved = no(gw.ListenerReasonRefNotPermitted, problem.message)
		default:
			l.resolved = no(gw.ListenerReasonInvalidCertificateRef, problem.message)
		}
	}
	l.broken = len(l.end.Certificates) == 0
	if l.protocol == gw.HTTPSProtocolType {
		d.checkClients(l)
	}
}

// checkClients finds out what certificates the clients of a listener have to show.
func (d *derivation) checkClients(l *listener) {
	v := validation(l.gateway.object, l.port)
	if v == nil {
		return
	}
	check := &route.ClientCheck{CAs: x509.NewCertPool(), Insecure: v.Mode == gw.AllowInsecureFallback}
	valid := 0
	for _, ref := range v.CACertificateRefs {
		// What is written in the Gateway is named by the Gateway, also for listeners of ListenerSets.
		from := referrer{"Gateway", l.gateway.object.Namespace}
		problem := d.bundle(l.gateway, from, ref, check.CAs)
		switch {
		case problem == nil:
			valid++
		case problem.reason == permission:
			l.resolved = no(gw.ListenerReasonRefNotPermitted, problem.message)
		case problem.reason == unknownKind:
			l.resolved = no(gw.ListenerReasonInvalidCACertificateKind, problem.message)
		default:
			l.resolved = no(gw.ListenerReasonInvalidCACertificateRef, problem.message)
		}
	}
	l.gateway.insecure = l.gateway.insecure || check.Insecure
	if valid == 0 {
		l.accepted = no(gw.ListenerReasonNoValidCACertificate, "No certificate authority that is named for clients can be used: "+l.resolved.message)
		return
	}
	l.end.Clients = check
}

// validation is what a Gateway says of clients that connect to a port; nil: nothing.
func validation(g *gw.Gateway, port int32) *gw.FrontendTLSValidation {
	if g.Spec.TLS == nil || g.Spec.TLS.Frontend == nil {
		return nil
	}
	for _, p := range g.Spec.TLS.Frontend.PerPort {
		if p.Port == port {
			return p.TLS.Validation
		}
	}
	return g.Spec.TLS.Frontend.Default.Validation
}

// problem is why a reference cannot be followed.
type problem struct {
	reason  int
	message string
}

const (
	missing     = iota // or of no use
	unknownKind        // of a kind that cannot be named here
	permission         // in another namespace, without a grant
	protocol           // a port with a protocol that does not fit
	spoilt             // a Secret that is there and has no certificate with its key
)

// keyPair is the Secret with a certificate and its key that a reference names.
func (d *derivation) keyPair(g *gateway, from referrer, ref gw.SecretObjectReference) (types.NamespacedName, *problem) {
	name := types.NamespacedName{Namespace: or(ref.Namespace, from.namespace), Name: string(ref.Name)}
	if text(ref.Group) != corev1.GroupName || or(ref.Kind, "Secret") != "Secret" {
		return name, &problem{unknownKind, fmt.Sprintf("A certificate cannot be taken from a %s: name a Secret of type kubernetes.io/tls", or(ref.Kind, "Secret"))}
	}
	if !d.grants.allow(from, "Secret", name.Namespace, name.Name) {
		return name, d.forbidden(from, "Secret", name)
	}
	g.reads = append(g.reads, api.Read{Resource: "secrets", Name: name})
	secret := d.view.Secret(name)
	if secret == nil {
		return name, &problem{missing, fmt.Sprintf("Secret %s does not exist", name)}
	}
	if p := d.checkKeyPair(secret); p.err != nil {
		return name, &problem{spoilt, fmt.Sprintf("Secret %s cannot be used: %v", name, p.err)}
	}
	d.memory.good[name] = true
	return name, nil
}

func (d *derivation) forbidden(from referrer, kind string, name types.NamespacedName) *problem {
	return &problem{permission, fmt.Sprintf("%s %s is in another namespace, where no ReferenceGrant lets a %s of namespace %s name it", kind, name, from.kind, from.namespace)}
}

// checked is what is known of the certificate and key of a Secret.
type checked struct {
	err         error     // why it is none
	from, until time.Time // in which it is valid
}

// checkKeyPair looks at a Secret that is to be a certificate with its key. The answer is kept as long as the Secret stays the same.
func (d *derivation) checkKeyPair(s *corev1.Secret) checked {
	p, known := d.before.pairs[s]
	if !known {
		var cert tls.Certificate
		if cert, p.err = tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]); p.err == nil {
			p.from, p.until = cert.Leaf.NotBefore, cert.Leaf.NotAfter
		}
	}
	d.memory.pairs[s] = p
	return p
}

// bundle adds the certificates of a ConfigMap to a pool. g has to read it; nil: whoever is served with it has.
func (d *derivation) bundle(g *gateway, from referrer, ref gw.ObjectReference, pool *x509.CertPool) *problem {
	name := types.NamespacedName{Namespace: or(ref.Namespace, from.namespace), Name: string(ref.Name)}
	if ref.Group != corev1.GroupName || ref.Kind != "ConfigMap" {
		return &problem{unknownKind, fmt.Sprintf("Certificate authorities cannot be taken from a %s: name a ConfigMap with the key %s", ref.Kind, caKey)}
	}
	if !d.grants.allow(from, "ConfigMap", name.Namespace, name.Name) {
		return d.forbidden(from, "ConfigMap", name)
	}
	if g != nil {
		g.reads = append(g.reads, api.Read{Resource: "configmaps", Name: name})
	}
	m := d.view.ConfigMap(name)
	if m == nil {
		return &problem{missing, fmt.Sprintf("ConfigMap %s does not exist", name)}
	}
	if !pool.AppendCertsFromPEM([]byte(m.Data[caKey])) {
		return &problem{missing, fmt.Sprintf("ConfigMap %s has no certificate in its key %s", name, caKey)}
	}
	return nil
}
