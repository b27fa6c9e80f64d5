package apiserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	clientset "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki/peer"
)

// extension is a server of a group of its own. It believes who a request is from if the API server's front proxy says it.
func extension(t *testing.T, trusted *x509.CertPool) (at string, caPEM []byte) {
	t.Helper()
	pages := http.NewServeMux()
	list := `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"zoo.example/v1","resources":[{"name":"bears","singularName":"bear","namespaced":true,"kind":"Bear","verbs":["get","list"]}]}`
	pages.HandleFunc("/apis/zoo.example/v1", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, list) })
	pages.HandleFunc("/apis/zoo.example/v1/namespaces/default/bears", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"kind":"BearList","apiVersion":"zoo.example/v1","metadata":{},"items":[],"user":%q,"groups":%q,"extra":%q,"token":%q}`,
			r.Header.Get("X-Remote-User"), strings.Join(r.Header.Values("X-Remote-Group"), " "), r.Header.Get("X-Remote-Extra-Scopes"), r.Header.Get("Authorization"))
	})
	pages.HandleFunc("/openapi/v3", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"paths":{"apis/zoo.example/v1":{"serverRelativeURL":"/openapi/v3/apis/zoo.example/v1?hash=1"},"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=theirs"}}}`)
	})
	pages.HandleFunc("/openapi/v3/apis/zoo.example/v1", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"openapi":"3.0.0","info":{"title":"zoo","version":%q},"paths":{}}`, r.URL.Query().Get("hash"))
	})
	pages.HandleFunc("/openapi/v2", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"swagger":"2.0","info":{"title":"zoo","version":"1"},"paths":{"/apis/zoo.example/v1/bears":{"get":{"responses":{"200":{"description":"OK","schema":{"$ref":"#/definitions/example.zoo.v1.Bear"}}}}},
			"/apis/apps/v1/deployments":{"get":{"responses":{"200":{"description":"forgery of the zoo"}}}}},"definitions":{"example.zoo.v1.Bear":{"type":"object","properties":{"claws":{"type":"integer"}}}}}`)
	})
	server := httptest.NewUnstartedServer(pages)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// tunnelling is a node whose agent carries what is sent to any address to one server.
func tunnelling(t *testing.T, cfg apiserver.Config, admin *rest.Config, to string) {
	t.Helper()
	certPEM, keyPEM, err := cfg.CA.Issue(join.ServingIdentity("n1", []netip.Addr{netip.MustParseAddr("127.0.0.1")}))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !peer.IsCaller(r.TLS.PeerCertificates[0]) {
			http.Error(w, "not for you", http.StatusForbidden)
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		fmt.Fprint(in, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(out, in)
		io.Copy(in, out)
	}))
	agent.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: cfg.CA.Pool()}
	agent.StartTLS()
	t.Cleanup(agent.CloseClientConnections)
	nodes := clientOf(t, admin).CoreV1().Nodes()
	node, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(agent.Listener.Addr().(*net.TCPAddr).Port)
	if _, err := nodes.UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// zoo is a Service with an endpoint, and the APIService of its group.
func zoo(t *testing.T, admin *rest.Config, caPEM []byte) *apiregistrationv1.APIService {
	t.Helper()
	client := clientOf(t, admin)
	port, name, ready := int32(8443), "https", true
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "zoo"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: 443}}}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "zoo-1", Labels: map[string]string{discoveryv1.LabelServiceName: "zoo"}}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.1.7"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}}
	if _, err := client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1.zoo.example"}, Spec: apiregistrationv1.APIServiceSpec{
		Group: "zoo.example", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 100, CABundle: caPEM,
		Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "zoo"},
	}}
}

// frontProxies are the authorities whose word servers behind APIServices take, as the cluster publishes it.
func frontProxies(t *testing.T, admin *rest.Config) *x509.CertPool {
	t.Helper()
	var text string
	eventually(t, "it is published by whom to know the API server", func() bool {
		m, err := clientOf(t, admin).CoreV1().ConfigMaps("kube-system").Get(t.Context(), "extension-apiserver-authentication", metav1.GetOptions{})
		if err != nil || m.Data["requestheader-allowed-names"] != `["front-proxy-client"]` || m.Data["requestheader-username-headers"] != `["X-Remote-User"]` {
			return false
		}
		text = m.Data["requestheader-client-ca-file"]
		return m.Data["client-ca-file"] != ""
	})
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		t.Fatalf("requestheader-client-ca-file: %q", text)
	}
	return pool
}

func TestAggregation(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	server, _ := apitest.Run(t, cfg)
	admin := server.ClientConfig()
	at, caPEM := extension(t, frontProxies(t, admin))
	tunnelling(t, cfg, admin, at)
	services, err := clientset.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	objects := services.ApiregistrationV1().APIServices()
	wanted := zoo(t, admin, caPEM)
	wanted.Spec.CABundle, wanted.Spec.InsecureSkipTLSVerify = nil, true // the certificate of httptest has a name of its own
	if _, err := objects.Create(t.Context(), wanted, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	available := func(name string, want apiregistrationv1.ConditionStatus) func() bool {
		return func() bool {
			s, err := objects.Get(t.Context(), name, metav1.GetOptions{})
			return err == nil && len(s.Status.Conditions) == 1 && s.Status.Conditions[0].Status == want
		}
	}
	for _, name := range []string{"v1.", "v1.apps", "v1.networking.k8s.io", "v1.apiextensions.k8s.io", "v1.zoo.example"} {
		eventually(t, name+" is available", available(name, apiregistrationv1.ConditionTrue))
	}
	discovered(t, admin)
	documented(t, admin, true)
	user := as(t, cfg, "alice", "system:masters")
	text, err := clientOf(t, user).CoreV1().RESTClient().Get().AbsPath("/apis/zoo.example/v1/namespaces/default/bears").
		SetHeader("X-Remote-User", "root").SetHeader("X-Remote-Group", "forged").SetHeader("X-Remote-Extra-Scopes", "all").Do(t.Context()).Raw()
	if err != nil || !strings.Contains(string(text), `"user":"alice","groups":"system:masters system:authenticated","extra":""`) {
		t.Errorf("the other server is told: %s, %v", text, err)
	}
	for _, path := range []string{"/apis/zoo.example/v1/namespaces/default/bears", "/api/v1/namespaces/default/secrets"} {
		mallory := clientOf(t, as(t, cfg, "mallory")).CoreV1().RESTClient().Get().AbsPath(path).SetHeader("X-Remote-User", "alice").SetHeader("X-Remote-Group", "system:masters")
		if err := mallory.Do(t.Context()).Error(); !apierrors.IsForbidden(err) {
			t.Errorf("mallory, who says that she is alice, at %s: %v", path, err)
		}
	}
	if err := clientOf(t, admin).DiscoveryV1().EndpointSlices("default").Delete(t.Context(), "zoo-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := clientOf(t, user).CoreV1().RESTClient().Get().AbsPath("/apis/zoo.example/v1/namespaces/default/bears").MaxRetries(0).Do(t.Context()).Error(); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("without an endpoint: %v", err)
	}
	if err := objects.Delete(t.Context(), "v1.zoo.example", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	yields(t, admin, wanted)
	documented(t, admin, false)
	eventually(t, "the group is gone", func() bool {
		groups, err := clientOf(t, admin).Discovery().ServerGroups()
		return err == nil && !slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == "zoo.example" })
	})
}

// discovered looks for the group of others in every form of discovery.
func discovered(t *testing.T, admin *rest.Config) {
	t.Helper()
	discovery := clientOf(t, admin).Discovery()
	eventually(t, "aggregated discovery has what the other serves", func() bool {
		_, resources, err := discovery.ServerGroupsAndResources()
		return err == nil && slices.ContainsFunc(resources, func(l *metav1.APIResourceList) bool {
			return l.GroupVersion == "zoo.example/v1" && len(l.APIResources) == 1 && l.APIResources[0].Kind == "Bear"
		})
	})
	for _, path := range []string{"/apis", "/apis/zoo.example"} {
		text, err := discovery.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").Do(t.Context()).Raw()
		if err != nil || !strings.Contains(string(text), `"groupVersion":"zoo.example/v1"`) {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
}

// documented looks for the group of others in OpenAPI's documents, of which it has its own part alone.
func documented(t *testing.T, admin *rest.Config, there bool) {
	t.Helper()
	client := clientOf(t, admin).CoreV1().RESTClient()
	read := func(path, query string) string {
		text, err := client.Get().AbsPath(path).Param("hash", query).SetHeader("Accept", "application/json").Do(t.Context()).Raw()
		if err != nil && there {
			t.Errorf("%s: %v", path, err)
		}
		return string(text)
	}
	for what, part := range map[string]struct {
		path, hash, has string
		is              bool
	}{
		"the index":               {"/openapi/v3", "", `"apis/zoo.example/v1":{"serverRelativeURL":"/openapi/v3/apis/zoo.example/v1?hash=1"}`, there},
		"another's word for apps": {"/openapi/v3", "", "hash=theirs", false},
		"the document":            {"/openapi/v3/apis/zoo.example/v1", "1", `"title":"zoo","version":"1"`, there},
		"version 2":               {"/openapi/v2", "", `"example.zoo.v1.Bear":{"type":"object","properties":{"claws"`, there},
		"what is not its own":     {"/openapi/v2", "", "forgery of the zoo", false},
		"what is this server's":   {"/openapi/v2", "", "io.k8s.api.apps.v1.Deployment", true},
	} {
		eventually(t, what+" is as it should be", func() bool { return strings.Contains(read(part.path, part.hash), part.has) == part.is })
	}
}

// yields has a metrics-server installed and removed: who asks for metrics is sent there, and to this server again.
func yields(t *testing.T, admin *rest.Config, like *apiregistrationv1.APIService) {
	t.Helper()
	services, err := clientset.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	objects, client := services.ApiregistrationV1().APIServices(), clientOf(t, admin)
	answer := func() (string, error) {
		text, err := client.DiscoveryV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/pods").SetHeader("Accept", "application/json").MaxRetries(0).Do(t.Context()).Raw()
		return string(text), err
	}
	if text, err := answer(); err != nil || !strings.Contains(text, `"kind":"PodMetricsList"`) {
		t.Errorf("before there is another: %s, %v", text, err)
	}
	theirs := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1beta1.metrics.k8s.io"}, Spec: *like.Spec.DeepCopy()}
	theirs.Spec.Group, theirs.Spec.Version = "metrics.k8s.io", "v1beta1"
	if _, err := objects.Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "metrics are another's, which has no endpoint", func() bool {
		_, err := answer()
		return apierrors.IsServiceUnavailable(err)
	})
	if err := objects.Delete(t.Context(), theirs.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "metrics are this server's again, and listed", func() bool {
		_, err := answer()
		groups, listed := client.Discovery().ServerGroups()
		return err == nil && listed == nil && slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == "metrics.k8s.io" })
	})
}
