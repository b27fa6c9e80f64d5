//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that people use.

package registry_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/internal/apitest"
)

func (s *server) create(t *testing.T, name, spec string) *corev1.Service {
	t.Helper()
	svc, err := s.CoreV1().Services("default").Create(t.Context(), service(t, name, spec), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func (s *server) createError(t *testing.T, name, spec string) error {
	t.Helper()
	svc, err := s.CoreV1().Services("default").Create(t.Context(), service(t, name, spec), metav1.CreateOptions{})
	if err == nil {
		t.Fatalf("%s was accepted: %+v", name, svc.Spec)
	}
	return err
}

func (s *server) remove(t *testing.T, name string) {
	t.Helper()
	if err := s.CoreV1().Services("default").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestS20_AnAddressIsAllocated(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "ports: [{port: 80}]")
	addr, err := netip.ParseAddr(svc.Spec.ClusterIP)
	if err != nil || !netip.MustParsePrefix("10.96.0.0/12").Contains(addr) || !slices.Equal(svc.Spec.ClusterIPs, []string{svc.Spec.ClusterIP}) {
		t.Errorf("clusterIP %q, clusterIPs %q", svc.Spec.ClusterIP, svc.Spec.ClusterIPs)
	}
	if !netip.MustParseAddr("10.96.1.0").Less(addr) {
		t.Errorf("S27: %s is of the lower band", addr)
	}
	if *svc.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack || !slices.Equal(svc.Spec.IPFamilies, []corev1.IPFamily{corev1.IPv4Protocol}) {
		t.Errorf("S41: %s %s", *svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies)
	}
	kubernetes, err := s.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || kubernetes.Spec.ClusterIP != "10.96.0.1" {
		t.Errorf("S28: %v %v", kubernetes.Spec.ClusterIP, err)
	}
}

func TestS21_S43_S51_Headless(t *testing.T) {
	s := start(t)
	selected := s.create(t, "selected", "{clusterIP: None, selector: {app: x}, ports: [{port: 80}]}")
	if !slices.Equal(selected.Spec.ClusterIPs, []string{"None"}) || *selected.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		t.Errorf("with a selector: %+v", selected.Spec)
	}
	bare := s.create(t, "bare", "{clusterIP: None}")
	if *bare.Spec.IPFamilyPolicy != corev1.IPFamilyPolicyRequireDualStack || len(bare.Spec.IPFamilies) != 2 {
		t.Errorf("without a selector: %s %s", *bare.Spec.IPFamilyPolicy, bare.Spec.IPFamilies)
	}
}

func TestS22_S23_S33_FixedAddress(t *testing.T) {
	s := start(t)
	const spec = "{clusterIP: 10.97.72.1, ports: [{port: 80}]}"
	if svc := s.create(t, "a", spec); svc.Spec.ClusterIP != "10.97.72.1" || svc.Spec.ClusterIPs[0] != "10.97.72.1" {
		t.Errorf("S22: %+v", svc.Spec)
	}
	err := s.createError(t, "b", spec)
	if want := `Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.97.72.1"]: failed to allocate IP 10.97.72.1: provided IP is already allocated`; err.Error() != want || !apierrors.IsInvalid(err) {
		t.Errorf("S23:\n got %v\nwant %s", err, want)
	}
	s.remove(t, "a")
	s.create(t, "b", spec) // S33: free at once
}

func TestS24_OutsideTheRange(t *testing.T) {
	err := start(t).createError(t, "a", "{clusterIP: 192.168.0.1, ports: [{port: 80}]}")
	if want := `Service "a" is invalid: spec.clusterIPs: Invalid value: ["192.168.0.1"]: failed to allocate IP 192.168.0.1: provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12`; err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestS25_AFullRange(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.ServiceCIDRs, cfg.ClusterDNS = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}, []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	api, _ := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	for i := range 4 { // six usable, of which the API and the DNS have two
		s.create(t, fmt.Sprintf("a%d", i), "ports: [{port: 80}]")
	}
	err := s.createError(t, "b", "ports: [{port: 80}]")
	if want := "Internal error occurred: failed to allocate a serviceIP: range is full"; err.Error() != want || !apierrors.IsInternalError(err) {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	s.remove(t, "a2")
	s.create(t, "b", "ports: [{port: 80}]")
}

func TestS31_ADryRunReservesNothing(t *testing.T) {
	s := start(t)
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	fixed := service(t, "dry", "{type: NodePort, clusterIP: 10.97.72.9, ports: [{port: 80, name: a, nodePort: 30033}, {port: 81, name: b}, {port: 82, name: c}]}")
	got, err := s.CoreV1().Services("default").Create(t.Context(), fixed, dry)
	if err != nil {
		t.Fatal(err)
	}
	if got.Spec.Ports[1].NodePort == 0 || got.Spec.Ports[2].NodePort == 0 || got.Spec.Ports[1].NodePort == got.Spec.Ports[2].NodePort {
		t.Errorf("ports shown: %+v", got.Spec.Ports)
	}
	free, err := s.CoreV1().Services("default").Create(t.Context(), service(t, "dry2", "ports: [{port: 80}]"), dry)
	if err != nil || free.Spec.ClusterIP == "" {
		t.Errorf("an address to show: %v", err)
	}
	s.create(t, "real", "{type: NodePort, clusterIP: 10.97.72.9, ports: [{port: 80, nodePort: 30033}]}")
	if _, err := s.CoreV1().Services("default").Create(t.Context(), fixed, dry); err == nil {
		t.Error("a dry run of what is taken now succeeded")
	}
	svc, err := s.CoreV1().Services("default").Get(t.Context(), "real", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	svc.Spec.Type, svc.Spec.Ports[0].NodePort = corev1.ServiceTypeClusterIP, 0
	if _, err := s.CoreV1().Services("default").Update(t.Context(), svc, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Fatal(err)
	}
	if err := s.createError(t, "other", "{type: NodePort, ports: [{port: 80, nodePort: 30033}]}"); !strings.Contains(err.Error(), "already allocated") {
		t.Errorf("after a dry run gave the port up: %v", err)
	}
}

func TestS32_AFailureReleasesWhatItTook(t *testing.T) {
	s := start(t)
	s.create(t, "holder", "{type: NodePort, ports: [{port: 80, nodePort: 30050}]}")
	s.createError(t, "a", "{type: NodePort, clusterIP: 10.97.72.2, ports: [{port: 80, name: a, nodePort: 30051}, {port: 81, name: b, nodePort: 30050}]}")
	s.createError(t, "b", "{clusterIP: 10.97.72.2, ports: [{port: 80}, {port: 81}]}") // refused by validation
	s.create(t, "c", "{type: NodePort, clusterIP: 10.97.72.2, ports: [{port: 80, nodePort: 30051}]}")
	// A name that exists fails after allocation.
	s.createError(t, "c", "{type: NodePort, clusterIP: 10.97.72.3, ports: [{port: 80, nodePort: 30052}]}")
	s.create(t, "d", "{type: NodePort, clusterIP: 10.97.72.3, ports: [{port: 80, nodePort: 30052}]}")
}

func TestE32_DeletingAServiceDeletesItsEndpoints(t *testing.T) {
	s := start(t)
	s.create(t, "web", "ports: [{port: 80}]")
	ends := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "10.0.0.250"}}}}}
	if _, err := s.CoreV1().Endpoints("default").Create(t.Context(), ends, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.remove(t, "web")
	if _, err := s.CoreV1().Endpoints("default").Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the endpoints: %v", err)
	}
}

func TestS60_S63_S64_S65_NodePorts(t *testing.T) {
	s := start(t)
	if svc := s.create(t, "fixed", "{type: NodePort, ports: [{port: 80, nodePort: 31398}]}"); svc.Spec.Ports[0].NodePort != 31398 {
		t.Errorf("S63: %+v", svc.Spec.Ports)
	}
	err := s.createError(t, "taken", "{type: NodePort, ports: [{port: 80, nodePort: 31398}]}")
	if want := `Service "taken" is invalid: spec.ports[0].nodePort: Invalid value: 31398: provided port is already allocated`; err.Error() != want {
		t.Errorf("S64:\n got %v\nwant %s", err, want)
	}
	err = s.createError(t, "out", "{type: NodePort, ports: [{port: 80, nodePort: 80}]}")
	if want := `Service "out" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`; err.Error() != want {
		t.Errorf("S65:\n got %v\nwant %s", err, want)
	}
	chosen := s.create(t, "chosen", "{type: NodePort, ports: [{port: 80}]}").Spec.Ports[0].NodePort
	if chosen < 30086 || chosen > 32767 {
		t.Errorf("S61: %d", chosen)
	}
	err = s.createError(t, "udp", "{type: NodePort, ports: [{port: 80, protocol: UDP, nodePort: 31398}]}")
	if !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Errorf("S66: %v", err)
	}
	s.remove(t, "fixed")
	s.create(t, "udp", "{type: NodePort, ports: [{port: 80, protocol: UDP, nodePort: 31398}]}") // S71
}

func TestS62_S66_WhoGetsNodePorts(t *testing.T) {
	s := start(t)
	if svc := s.create(t, "cluster", "ports: [{port: 80}]"); svc.Spec.Ports[0].NodePort != 0 {
		t.Errorf("ClusterIP: %d", svc.Spec.Ports[0].NodePort)
	}
	if svc := s.create(t, "balancer", "{type: LoadBalancer, loadBalancerIP: 1.2.3.4, ports: [{port: 80}]}"); svc.Spec.Ports[0].NodePort == 0 || svc.Spec.LoadBalancerIP != "1.2.3.4" {
		t.Errorf("LoadBalancer: %+v", svc.Spec)
	}
	svc := s.create(t, "bare", "{type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80, name: a}, {port: 81, name: b, nodePort: 30070}]}")
	if svc.Spec.Ports[0].NodePort != 0 || svc.Spec.Ports[1].NodePort != 30070 {
		t.Errorf("S68: %+v", svc.Spec.Ports)
	}
	svc = s.create(t, "dns", "{type: NodePort, ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]}")
	if a, b := svc.Spec.Ports[0].NodePort, svc.Spec.Ports[1].NodePort; a == 0 || a != b {
		t.Errorf("S66: one port of two protocols got %d and %d", a, b)
	}
}

func TestS68_FlippingAllocationOffKeepsPorts(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "{type: LoadBalancer, ports: [{port: 80}]}")
	port := svc.Spec.Ports[0].NodePort
	svc.Spec.AllocateLoadBalancerNodePorts = new(bool)
	svc = s.update(t, svc)
	if svc.Spec.Ports[0].NodePort != port {
		t.Errorf("flipped: %d, was %d", svc.Spec.Ports[0].NodePort, port)
	}
	svc.Spec.Ports[0].NodePort = 0
	if svc = s.update(t, svc); svc.Spec.Ports[0].NodePort != 0 {
		t.Errorf("zeroed: %d", svc.Spec.Ports[0].NodePort)
	}
	s.create(t, "b", fmt.Sprintf("{type: NodePort, ports: [{port: 80, nodePort: %d}]}", port))
}

func TestS70_HealthCheckNodePort(t *testing.T) {
	s := start(t)
	const local = "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]"
	svc := s.create(t, "a", "{"+local+"}")
	if svc.Spec.HealthCheckNodePort == 0 || svc.Spec.HealthCheckNodePort == svc.Spec.Ports[0].NodePort {
		t.Errorf("%+v", svc.Spec)
	}
	fixed := fmt.Sprintf("{%s, healthCheckNodePort: %d}", local, svc.Spec.HealthCheckNodePort)
	err := s.createError(t, "b", fixed)
	if want := fmt.Sprintf("failed to allocate requested HealthCheck NodePort %d: provided port is already allocated", svc.Spec.HealthCheckNodePort); !strings.HasSuffix(err.Error(), want) || !apierrors.IsInternalError(err) {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	changed := svc.DeepCopy()
	changed.Spec.HealthCheckNodePort = 30071
	if _, err := s.CoreV1().Services("default").Update(t.Context(), changed, metav1.UpdateOptions{}); complaint(err) != "spec.healthCheckNodePort: Forbidden: field is immutable" {
		t.Errorf("S88: %v", err)
	}
	s.remove(t, "a")
	s.create(t, "b", fixed)
}

func TestNumbersSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	cfg := apitest.Config(t, dir)
	api, stop := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	s.create(t, "a", "{type: NodePort, clusterIP: 10.97.72.1, ports: [{port: 80, nodePort: 30080}]}")
	s.create(t, "gone", "{clusterIP: 10.97.72.2, ports: [{port: 80}]}")
	s.remove(t, "gone")
	stop()

	api, _ = apitest.Run(t, cfg)
	s = connect(t, api.ClientConfig())
	if err := s.createError(t, "b", "{clusterIP: 10.97.72.1, ports: [{port: 80}]}"); !strings.Contains(err.Error(), "already allocated") {
		t.Error(err)
	}
	if err := s.createError(t, "b", "{type: NodePort, ports: [{port: 80, nodePort: 30080}]}"); !strings.Contains(err.Error(), "already allocated") {
		t.Error(err)
	}
	s.create(t, "b", "{clusterIP: 10.97.72.2, ports: [{port: 80}]}")
	s.remove(t, "a")
	s.create(t, "c", "{type: NodePort, clusterIP: 10.97.72.1, ports: [{port: 80, nodePort: 30080}]}")
}

func TestConcurrentServicesGetDifferentNumbers(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.NodePorts = alloc.PortRange{First: 30000, Last: 30099}
	api, _ := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	var group sync.WaitGroup
	var mu sync.Mutex
	addresses, ports := map[string]bool{}, map[int32]bool{}
	for worker := range 10 {
		group.Go(func() {
			for i := range 10 {
				svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d-%d", worker, i)}, Spec: corev1.ServiceSpec{
					Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}}
				svc, err := s.CoreV1().Services("default").Create(context.Background(), svc, metav1.CreateOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				addresses[svc.Spec.ClusterIP], ports[svc.Spec.Ports[0].NodePort] = true, true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(addresses) != 100 || len(ports) != 100 {
		t.Errorf("100 services have %d addresses and %d ports", len(addresses), len(ports))
	}
	if err := s.createError(t, "one-more", "{type: NodePort, ports: [{port: 80}]}"); !strings.Contains(err.Error(), "failed to allocate a nodePort: range is full") {
		t.Error(err)
	}
}

func TestM20_ExternalIPsWhenAllowed(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.AllowExternalIPs = true
	api, _ := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	svc := s.create(t, "demoapp-externalip-svc", "{externalIPs: [192.168.2.6], ports: [{port: 80}]}")
	if svc.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyCluster {
		t.Errorf("S6: %q", svc.Spec.ExternalTrafficPolicy)
	}
	columns(t, s.must(t, "", "get", "svc", svc.Name), "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
		"demoapp-externalip-svc ClusterIP * 192.168.2.6 80/TCP *")
	err := s.createError(t, "b", "{externalIPs: [127.0.0.1], ports: [{port: 80}]}")
	if want := `spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`; complaint(err) != want {
		t.Errorf("S124:\n got %v\nwant %s", err, want)
	}
}
