package ingress

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/network/l7/route"
)

// closedText is what clients are told of what is not served because of its guard.
const closedText = "This is not served: something that guards it cannot be done as it is written. Events of the Ingress say what.\n"

// action is what is done with requests for a path, with where they go.
func (d *derivation) action(to *networkingv1.IngressBackend, where string) route.Action {
	s := d.settings
	if s.closed != "" {
		return route.Action{Respond: &route.Respond{Status: 503, Body: closedText}}
	}
	if r := s.redirect(); r != nil {
		return route.Action{Redirect: r, Quiet: s.quiet}
	}
	a := d.base
	a.Backends = []route.Backend{d.backend(to, where)}
	a.Instead = d.instead(&a.Backends[0])
	return a
}

// instead is what default-backend has instead of a backend; nil: nothing.
func (d *derivation) instead(of *route.Backend) *route.Instead {
	s := d.settings
	if s.instead == "" {
		return nil
	}
	name := types.NamespacedName{Namespace: d.ing.Namespace, Name: s.instead}
	d.uses = append(d.uses, name)
	wanted := networkingv1.ServiceBackendPort{Number: 80}
	if d.world.Service != nil {
		if svc := d.world.Service(name); svc != nil && len(svc.Spec.Ports) > 0 {
			wanted.Number = svc.Spec.Ports[0].Port
		}
	}
	port, broken := d.port(name, wanted, "default-backend")
	if broken != "" {
		return nil
	}
	in := &route.Instead{Backend: route.Backend{Service: name, Port: port, Weight: 1, Status: unavailable}, Headers: []route.Header{
		{Name: "X-Namespace", Value: d.ing.Namespace}, {Name: "X-Ingress-Name", Value: d.ing.Name},
		{Name: "X-Service-Name", Value: of.Service.Name}, {Name: "X-Service-Port", Value: strconv.Itoa(int(of.Port))},
	}}
	if !s.keepErrors {
		in.Codes = s.errors
	}
	return in
}

// unavailable is the answer where a backend cannot be used (I50).
const unavailable = 503

// backend is the port of a Service, or why there is none (I49).
func (d *derivation) backend(to *networkingv1.IngressBackend, where string) route.Backend {
	b := route.Backend{Weight: 1, Protocol: d.settings.protocol, Status: unavailable}
	if to.Service == nil {
		b.Broken = "a resource as backend is not supported"
		kind := "a resource"
		if to.Resource != nil {
			kind = to.Resource.Kind + " " + to.Resource.Name
		}
		d.find(ResourceBackend, Unsupported, where, kind+" as backend is not supported: requests for it get 503", "Name a Service as backend")
		return b
	}
	b.Service = types.NamespacedName{Namespace: d.ing.Namespace, Name: to.Service.Name}
	b.Port = to.Service.Port.Number
	d.uses = append(d.uses, b.Service)
	b.Port, b.Broken = d.port(b.Service, to.Service.Port, where)
	if d.settings.secure {
		b.TLS = d.secure(&b)
	}
	if s := d.settings; s.foreign != "" {
		b.Broken = fmt.Sprintf("%s is not spoken here", s.foreign)
	}
	return b
}

// port is the number of a Service's port, or what is wrong with it.
func (d *derivation) port(name types.NamespacedName, wanted networkingv1.ServiceBackendPort, where string) (number int32, broken string) {
	if d.world.Service == nil {
		return wanted.Number, ""
	}
	svc := d.world.Service(name)
	if svc == nil {
		d.find(ServiceMissing, Wrong, where, fmt.Sprintf("there is no Service %s: requests for it get 503", name), "Create the Service, or name one that there is")
		return wanted.Number, "the Service does not exist"
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		d.find(ServiceExternalName, Unsupported, where, fmt.Sprintf("Service %s is of type ExternalName, to which nothing is sent from here: requests for it get 503", name),
			"Make it a Service without selector, and write an EndpointSlice with the addresses")
		return wanted.Number, "the Service is of type ExternalName"
	}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		if api.Protocol(p.Protocol) == corev1.ProtocolTCP && (wanted.Name != "" && p.Name == wanted.Name || wanted.Name == "" && p.Port == wanted.Number) {
			return p.Port, ""
		}
	}
	said := wanted.Name
	if said == "" {
		said = strconv.Itoa(int(wanted.Number))
	}
	d.find(PortMissing, Wrong, where, fmt.Sprintf("Service %s has no TCP port %s: requests for it get 503", name, said), "Name one of its ports: "+ports(svc))
	return wanted.Number, "the Service has no such port"
}

// ports lists a Service's TCP ports.
func ports(svc *corev1.Service) string {
	var list []string
	for i := range svc.Spec.Ports {
		if p := &svc.Spec.Ports[i]; api.Protocol(p.Protocol) == corev1.ProtocolTCP {
			text := strconv.Itoa(int(p.Port))
			if p.Name != "" {
				text += " (" + p.Name + ")"
			}
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return "it has none of TCP"
	}
	return strings.Join(list, ", ")
}

// secure is how a backend is connected to with TLS. Without proxy-ssl-verify nothing is verified, as in ingress-nginx.
func (d *derivation) secure(b *route.Backend) *route.BackendTLS {
	s, t := d.settings, &route.BackendTLS{}
	if s.sslSNI || s.sslVerify {
		t.ServerName = s.sslName
	}
	if s.sslSecret == "" {
		return t
	}
	secret, _ := ingressrefs.Annotated(d.ing, ingressrefs.AnnotationBackendSecret)
	d.uses = append(d.uses, secret)
	if d.world.Secret == nil {
		t.Client = &secret
		return t
	}
	content := d.world.Secret(secret)
	if content == nil {
		b.Broken = "the Secret of proxy-ssl-secret does not exist"
		return t
	}
	if len(content.Data[corev1.TLSCertKey]) > 0 {
		t.Client = &secret
	}
	if s.sslVerify {
		t.CAs = x509.NewCertPool()
		if !t.CAs.AppendCertsFromPEM(content.Data[corev1.ServiceAccountRootCAKey]) {
			b.Broken = "the Secret of proxy-ssl-secret has no ca.crt"
		}
	}
	return t
}

// authentication adds who is asked about requests, and the users.
func (d *derivation) authentication() {
	s := d.settings
	if s.authType != "" {
		users, _ := ingressrefs.Annotated(d.ing, ingressrefs.AnnotationAuthSecret)
		d.base.Basic = &route.BasicAuth{Realm: s.authRealm, Secret: users, ByUser: s.authByUser}
	}
	if s.authURL == "" {
		return
	}
	x := &route.ExternalAuth{URL: s.authURL, Method: s.authMethod, SignIn: signIn(s.signIn, s.signParam), Copy: s.authCopy}
	if s.authRedirect != "" {
		x.Headers = []route.Header{{Name: "X-Auth-Request-Redirect", Value: s.authRedirect}}
	}
	x.Backend = d.serviceAt(s.authURL)
	d.base.External = x
}

// signIn is the address of the page to sign in at, with the parameter that leads back.
func signIn(address, parameter string) string {
	if address == "" || strings.Contains(address, "?"+parameter+"=") || strings.Contains(address, "&"+parameter+"=") {
		return address
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + parameter + "=$scheme://$http_host$escaped_request_uri"
}

// serviceAt is the Service that an address names by its name in the cluster, NAME.NAMESPACE.svc with or without what follows; nil if it
// names none, or one that there is not.
func (d *derivation) serviceAt(address string) *route.Backend {
	scheme, rest, _ := strings.Cut(address, "://")
	if i := strings.IndexAny(rest, "/?$"); i >= 0 {
		rest = rest[:i]
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || d.world.Service == nil {
		return nil
	}
	labels := strings.Split(u.Hostname(), ".")
	if len(labels) < 3 || labels[2] != "svc" {
		return nil
	}
	b := &route.Backend{Service: types.NamespacedName{Namespace: labels[1], Name: labels[0]}, Weight: 1}
	d.uses = append(d.uses, b.Service)
	port := 80
	if scheme == "https" {
		port, b.TLS = 443, &route.BackendTLS{ServerName: u.Hostname()} // not verified, as in ingress-nginx
	}
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil {
			return nil
		}
	}
	b.Port = int32(min(port, 1<<16-1))
	if svc := d.world.Service(b.Service); svc == nil || svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	return b
}

// mirror adds who gets a copy.
func (d *derivation) mirror() {
	if d.settings.mirror == "" {
		return
	}
	to := d.serviceAt(d.settings.mirror)
	if to == nil {
		if d.world.Service != nil {
			d.find(ServiceMissing, Wrong, "mirror-target", fmt.Sprintf("there is no Service at %s: nothing is copied", d.settings.mirror), "Create the Service, or name one that there is")
		}
		return
	}
	d.base.Mirrors = []route.Mirror{{Backend: *to}}
}
