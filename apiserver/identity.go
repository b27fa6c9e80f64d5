package apiserver

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api/claim"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// identity is what the server proves itself with: its serving certificate, the certificate it shows node
// agents, and the token of its own loopback client. All keys are elliptic: an RSA key costs tenths of a
// second at every start.
type identity struct {
	serving  dynamiccertificates.CertKeyContentProvider
	clients  dynamiccertificates.CAContentProvider
	toNodes  *pki.Source
	rootsPEM []byte
	token    string // bearer token of the loopback client, known to this process only
	port     uint16
	host     netip.Addr // loopback of the family served, or the one address served
}

func newIdentity(cfg Config, listening net.Addr) (*identity, error) {
	at, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return nil, fmt.Errorf("api server: address %s: %w", listening, err)
	}
	id := &identity{rootsPEM: cfg.CA.CertPEM(), token: rand.Text(), port: at.Port(), host: at.Addr().Unmap()}
	if id.host == netip.IPv6Unspecified() {
		id.host = netip.IPv6Loopback()
	} else if id.host.IsUnspecified() {
		id.host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	source, err := cfg.CA.Source(servingRequest(cfg))
	if err != nil {
		return nil, fmt.Errorf("api server: serving certificate: %w", err)
	}
	id.serving = serving{source, id.rootsPEM}
	if id.clients, err = dynamiccertificates.NewStaticCAContent("clients", id.rootsPEM); err != nil {
		return nil, fmt.Errorf("api server: certificate authority: %w", err)
	}
	if id.toNodes, err = cfg.CA.Source(peer.Caller()); err != nil {
		return nil, fmt.Errorf("api server: certificate towards nodes: %w", err)
	}
	return id, nil
}

// serving is the serving certificate in the form that the server asks for, every minute.
type serving struct {
	source *pki.Source
	roots  []byte
}

// Name is part of dynamiccertificates.CertKeyContentProvider.
func (serving) Name() string { return "serving" }

// AddListener is part of dynamiccertificates.Notifier. Nobody has to be told: the content is compared every minute anyway.
func (serving) AddListener(dynamiccertificates.Listener) {}

// CurrentCertKeyContent is part of dynamiccertificates.CertKeyContentProvider. The chain ends in the authority itself, so that
// a joining node can compare it with its token.
func (s serving) CurrentCertKeyContent() (chain, key []byte) {
	cert, key := s.source.PEM()
	return slices.Concat(cert, s.roots), key
}

// Claims is what no machine may claim to be that joins the cluster or is a node of it.
func (c Config) Claims() claim.Cluster {
	r := servingRequest(c)
	known := claim.Cluster{Pods: c.PodCIDRs, Services: c.ServiceCIDRs, Names: r.Names, Domain: c.Domain, Own: c.Node}
	for _, a := range r.Addrs {
		known.API = append(known.API, a.Unmap())
	}
	return known
}

// servingRequest names every address and name a client may reach the API by.
func servingRequest(cfg Config) pki.Request {
	r := pki.Request{
		CommonName: pki.APIServer,
		Server:     true,
		Addrs: []netip.Addr{
			cfg.Advertise, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(),
		},
		Names: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + cfg.Domain,
			"localhost", genericapiserver.LoopbackClientServerNameOverride,
		},
	}
	for _, services := range cfg.ServiceCIDRs {
		r.Addrs = append(r.Addrs, firstAddr(services))
	}
	if a := cfg.Bind.Addr().Unmap(); !a.IsUnspecified() && a != cfg.Advertise && !a.IsLoopback() {
		r.Addrs = append(r.Addrs, a)
	}
	if name, err := os.Hostname(); err == nil {
		r.Names = append(r.Names, name)
	}
	return r
}

// firstAddr is the address of the kubernetes Service: the first usable one of the Service range.
func firstAddr(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// client is the loopback client: system:masters by token, unlimited, in protobuf.
func (id *identity) client() *rest.Config {
	return &rest.Config{
		Host:        "https://" + net.JoinHostPort(id.host.String(), strconv.Itoa(int(id.port))),
		BearerToken: id.token,
		Proxy:       func(*http.Request) (*url.URL, error) { return nil, nil }, // whatever the environment says
		QPS:         -1,
		// Warnings are for people; the program's own use of Endpoints would log one per request.
		WarningHandler: rest.NoWarnings{},
		// Nothing leaves the host: compressing what many Services weigh would cost a tenth of a start.
		DisableCompression: true,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:     id.rootsPEM,
			ServerName: genericapiserver.LoopbackClientServerNameOverride,
		},
		ContentConfig: rest.ContentConfig{
			ContentType:        runtime.ContentTypeProtobuf,
			AcceptContentTypes: runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON,
		},
	}
}
