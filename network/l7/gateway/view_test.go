package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// objects are a View as a test writes it, and what it looks up.
type objects struct {
	View
	namespaces map[string]map[string]string
	services   map[types.NamespacedName]*corev1.Service
	secrets    map[types.NamespacedName]*corev1.Secret
	configMaps map[types.NamespacedName]*corev1.ConfigMap
	memory     Memory
}

// parse reads manifests. Those without a namespace are in "infra", and each is a second younger than the one before. There is a
// GatewayClass ours, a certificate in the Secrets infra/pair and web/pair, and an authority in the ConfigMap infra/ca.
func parse(t *testing.T, manifests string) *objects {
	t.Helper()
	o := &objects{
		namespaces: map[string]map[string]string{}, services: map[types.NamespacedName]*corev1.Service{},
		secrets: map[types.NamespacedName]*corev1.Secret{}, configMaps: map[types.NamespacedName]*corev1.ConfigMap{},
	}
	o.View = View{
		Namespace: func(name string) map[string]string { return o.namespaces[name] },
		Service:   func(n types.NamespacedName) *corev1.Service { return o.services[n] },
		Secret:    func(n types.NamespacedName) *corev1.Secret { return o.secrets[n] },
		ConfigMap: func(n types.NamespacedName) *corev1.ConfigMap { return o.configMaps[n] },
	}
	certificate, key := pair(t)
	for _, ns := range []string{"infra", "web"} {
		o.secrets[types.NamespacedName{Namespace: ns, Name: "pair"}] = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "pair"}, Data: map[string][]byte{"tls.crt": certificate, "tls.key": key},
		}
	}
	o.configMaps[types.NamespacedName{Namespace: "infra", Name: "ca"}] = &corev1.ConfigMap{Data: map[string]string{"ca.crt": string(certificate)}}
	o.Classes = []*gw.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "ours"}, Spec: gw.GatewayClassSpec{ControllerName: Controller}}}
	for i, doc := range strings.Split(manifests, "\n---\n") {
		o.add(t, i, doc)
	}
	return o
}

func (o *objects) add(t *testing.T, age int, doc string) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
		t.Fatal(err)
	}
	read := func(into metav1.Object) types.NamespacedName {
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if into.GetNamespace() == "" {
			into.SetNamespace("infra")
		}
		into.SetUID(types.UID(fmt.Sprint("uid-", age)))
		into.SetCreationTimestamp(metav1.Unix(int64(1e9+age), 0))
		into.SetGeneration(3)
		return types.NamespacedName{Namespace: into.GetNamespace(), Name: into.GetName()}
	}
	switch kind.Kind {
	case "GatewayClass":
		o.Classes = append(o.Classes, one(read, &gw.GatewayClass{}))
	case "Gateway":
		o.Gateways = append(o.Gateways, one(read, &gw.Gateway{}))
	case "ListenerSet":
		o.ListenerSets = append(o.ListenerSets, one(read, &gw.ListenerSet{}))
	case "HTTPRoute":
		o.HTTPRoutes = append(o.HTTPRoutes, one(read, &gw.HTTPRoute{}))
	case "GRPCRoute":
		o.GRPCRoutes = append(o.GRPCRoutes, one(read, &gw.GRPCRoute{}))
	case "TLSRoute":
		o.TLSRoutes = append(o.TLSRoutes, one(read, &gw.TLSRoute{}))
	case "TCPRoute":
		o.TCPRoutes = append(o.TCPRoutes, one(read, &gw.TCPRoute{}))
	case "UDPRoute":
		o.UDPRoutes = append(o.UDPRoutes, one(read, &gw.UDPRoute{}))
	case "ReferenceGrant":
		o.ReferenceGrants = append(o.ReferenceGrants, one(read, &gw.ReferenceGrant{}))
	case "BackendTLSPolicy":
		o.Policies = append(o.Policies, one(read, &gw.BackendTLSPolicy{}))
	case "Namespace":
		n := one(read, &corev1.Namespace{})
		o.namespaces[n.Name] = n.Labels
	case "Service":
		s := &corev1.Service{}
		o.services[read(s)] = s
	default:
		t.Fatalf("no kind %q in %s", kind.Kind, doc)
	}
}

func one[T metav1.Object](read func(metav1.Object) types.NamespacedName, into T) T {
	read(into)
	return into
}

func (o *objects) derive() *Result { return Derive(&o.View, &o.memory) }

// service is a Service with a port 80 for TCP.
func service(name string) string {
	return "\n---\nkind: Service\nmetadata: {name: " + name + "}\nspec: {ports: [{name: http, port: 80}]}"
}

// pair is a certificate that signs itself, and its key, in PEM.
func pair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
}

// say is the conditions of a list in short: "Accepted=True/Accepted", one a word.
func say(conditions []metav1.Condition) string {
	var words []string
	for _, c := range conditions {
		words = append(words, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
	}
	return strings.Join(words, " ")
}

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// assigned is the outcome of the only Gateway once its Service has been made and been given an address.
func (o *objects) assigned() *Gateway {
	return o.given("192.0.2.1")
}

// given is the outcome of the only Gateway once its Service, if it is to have one, has addresses.
func (o *objects) given(addresses ...string) *Gateway {
	g := o.derive().Gateways[0]
	s := g.Service()
	if s == nil {
		return g
	}
	for _, a := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	o.services[g.service] = s
	return o.derive().Gateways[0]
}
