package registry_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (s *server) update(t *testing.T, svc *corev1.Service) *corev1.Service {
	t.Helper()
	out, err := s.CoreV1().Services(svc.Namespace).Update(t.Context(), svc, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestS12_S81_PuttingTheManifestAgainChangesNothing(t *testing.T) {
	s := start(t)
	const spec = "{type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80, name: a}, {port: 81, name: b}]}"
	manifest := service(t, "a", spec)
	manifest.Namespace = "default"
	created := s.update(t, manifest) // S12: a PUT to a name that is missing creates
	again := s.update(t, manifest)
	if again.ResourceVersion != created.ResourceVersion || again.Spec.ClusterIP != created.Spec.ClusterIP {
		t.Errorf("changed:\n%+v\n%+v", created.Spec, again.Spec)
	}
	swapped := service(t, "a", "{type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 81, name: b}, {port: 80, name: renamed}]}")
	swapped.Namespace = "default"
	got := s.update(t, swapped)
	if got.Spec.Ports[0].NodePort != created.Spec.Ports[1].NodePort {
		t.Error("a port that was moved has another node port")
	}
	if got.Spec.Ports[1].NodePort == 0 || got.Spec.Ports[1].NodePort == created.Spec.Ports[0].NodePort {
		t.Errorf("S67: a renamed port has %d, was %d", got.Spec.Ports[1].NodePort, created.Spec.Ports[0].NodePort)
	}
	if got.Spec.HealthCheckNodePort != created.Spec.HealthCheckNodePort {
		t.Error("the health check port has changed")
	}
	s.create(t, "b", fmt.Sprintf("{type: NodePort, ports: [{port: 80, nodePort: %d}]}", created.Spec.Ports[0].NodePort)) // S71
}

func TestS80_TheAddressStays(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "{clusterIP: 10.97.72.1, ports: [{port: 80}]}")
	changed := svc.DeepCopy()
	changed.Spec.ClusterIP, changed.Spec.ClusterIPs = "10.97.72.2", []string{"10.97.72.2"}
	_, err := s.CoreV1().Services("default").Update(t.Context(), changed, metav1.UpdateOptions{})
	if want := `spec.clusterIPs[0]: Invalid value: ["10.97.72.2"]: may not change once set`; complaint(err) != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	changed.Spec.ClusterIPs = svc.Spec.ClusterIPs // S82: an old client changes the one it knows
	_, err = s.CoreV1().Services("default").Update(t.Context(), changed, metav1.UpdateOptions{})
	if want := `spec.clusterIPs[0]: Invalid value: ["10.97.72.2"]: may not change once set`; complaint(err) != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	s.create(t, "b", "{clusterIP: 10.97.72.2, ports: [{port: 80}]}") // neither try has kept it
}

func TestS69_S83_S84_S85_S86_ChangingTheType(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "{type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerClass: example.com/x, ports: [{port: 80}]}")
	ip, port, health := svc.Spec.ClusterIP, svc.Spec.Ports[0].NodePort, svc.Spec.HealthCheckNodePort
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	svc, err := s.CoreV1().Services("default").UpdateStatus(t.Context(), svc, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if svc.Status.LoadBalancer.Ingress[0].IPMode == nil || *svc.Status.LoadBalancer.Ingress[0].IPMode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("S10: %+v", svc.Status.LoadBalancer.Ingress)
	}
	other := svc.DeepCopy()
	other.Spec.LoadBalancerClass = nil
	if _, err := s.CoreV1().Services("default").Update(t.Context(), other, metav1.UpdateOptions{}); !strings.Contains(complaint(err), "spec.loadBalancerClass: Invalid value: null: may not change once set") {
		t.Errorf("S89: %v", err)
	}

	svc.Spec.Type = corev1.ServiceTypeNodePort
	svc = s.update(t, svc)
	if svc.Spec.LoadBalancerClass != nil || svc.Spec.AllocateLoadBalancerNodePorts != nil || svc.Spec.HealthCheckNodePort != 0 || len(svc.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("S85: %+v %+v", svc.Spec, svc.Status)
	}
	if svc.Spec.Ports[0].NodePort != port || svc.Spec.ClusterIP != ip {
		t.Errorf("kept: %+v", svc.Spec)
	}

	svc.Spec.Type = corev1.ServiceTypeClusterIP
	svc = s.update(t, svc)
	if svc.Spec.Ports[0].NodePort != 0 || svc.Spec.ExternalTrafficPolicy != "" {
		t.Errorf("S69, S86: %+v", svc.Spec)
	}

	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, "api.example.com"
	svc = s.update(t, svc)
	if svc.Spec.ClusterIP != "" || svc.Spec.ClusterIPs != nil || svc.Spec.IPFamilies != nil || svc.Spec.IPFamilyPolicy != nil {
		t.Errorf("S83: %+v", svc.Spec)
	}
	s.create(t, "b", fmt.Sprintf("{type: NodePort, clusterIP: %s, ports: [{port: 80, name: x, nodePort: %d}, {port: 81, name: y, nodePort: %d}]}", ip, port, health))

	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeNodePort, ""
	svc = s.update(t, svc)
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == ip || svc.Spec.Ports[0].NodePort == 0 {
		t.Errorf("S84: %+v", svc.Spec)
	}
}

func TestS44_S48_PreferDualStackOnOneFamily(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "{ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}")
	if len(svc.Spec.ClusterIPs) != 1 || len(svc.Spec.IPFamilies) != 1 {
		t.Errorf("S44: %+v", svc.Spec)
	}
	policy := corev1.IPFamilyPolicySingleStack
	svc.Spec.IPFamilyPolicy = &policy
	if svc = s.update(t, svc); *svc.Spec.IPFamilyPolicy != policy {
		t.Errorf("%+v", svc.Spec)
	}
	svc.Spec.IPFamilyPolicy = nil
	if svc = s.update(t, svc); svc.Spec.IPFamilyPolicy == nil || *svc.Spec.IPFamilyPolicy != policy {
		t.Errorf("S41: a policy left out on update is kept: %+v", svc.Spec)
	}
}

func TestS92_AStaleUpdateConflicts(t *testing.T) {
	s := start(t)
	svc := s.create(t, "a", "ports: [{port: 80}]")
	newer := svc.DeepCopy()
	newer.Labels = map[string]string{"a": "b"}
	s.update(t, newer)
	_, err := s.CoreV1().Services("default").Update(t.Context(), svc, metav1.UpdateOptions{})
	if want := "the object has been modified; please apply your changes to the latest version and try again"; !apierrors.IsConflict(err) || !strings.HasSuffix(err.Error(), want) {
		t.Error(err)
	}
}

func TestS11_S140_S141_Status(t *testing.T) {
	s := start(t)
	given := service(t, "a", "{type: LoadBalancer, ports: [{port: 80}]}")
	given.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	svc, err := s.CoreV1().Services("default").Create(t.Context(), given, metav1.CreateOptions{})
	if err != nil || len(svc.Status.LoadBalancer.Ingress) != 0 {
		t.Fatalf("S11: %+v %v", svc.Status, err)
	}
	patch := `{"metadata":{"annotations":{"patched":"true"}},"spec":{"sessionAffinity":"ClientIP"},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}}`
	svc, err = s.CoreV1().Services("default").Patch(t.Context(), "a", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	if svc.Annotations["patched"] != "true" || svc.Status.LoadBalancer.Ingress[0].IP != "203.0.113.1" || svc.Spec.SessionAffinity != corev1.ServiceAffinityNone {
		t.Errorf("S140: %+v", svc)
	}
	svc.Status.Conditions = []metav1.Condition{{Type: "Checked", Status: metav1.ConditionTrue, Reason: "Test", Message: "set by the test"}} // without a time, as the conformance test
	svc, err = s.CoreV1().Services("default").UpdateStatus(t.Context(), svc, metav1.UpdateOptions{})
	if err != nil || len(svc.Status.Conditions) != 1 {
		t.Errorf("S141: %+v %v", svc.Status, err)
	}
	columns(t, s.must(t, "", "get", "svc", "a"), "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", "a LoadBalancer * 203.0.113.1 80:*/TCP *")
}

func TestS143_DeleteCollection(t *testing.T) {
	s := start(t)
	for _, name := range []string{"a", "b", "c"} {
		svc := service(t, name, "ports: [{port: 80}]")
		svc.Labels = map[string]string{"keep": fmt.Sprint(name == "c")}
		if _, err := s.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	collection := s.CoreV1().RESTClient().Delete().Namespace("default").Resource("services").Param("labelSelector", "keep=false")
	if err := collection.Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	if got := s.must(t, "", "get", "svc", "-o", "name"); got != "service/c\nservice/kubernetes\n" {
		t.Errorf("left: %q", got)
	}
}

func TestS144_SamePortOfTwoProtocolsByServerSideApply(t *testing.T) {
	s := start(t)
	manifest := `
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  ports:
  - {name: a, port: 53, protocol: UDP}
  - {name: b, port: 53, protocol: TCP}
`
	s.must(t, manifest, "apply", "--server-side", "-f", "-")
	s.must(t, manifest, "apply", "--server-side", "-f", "-")
	if got := s.must(t, "", "get", "svc", "dns", "-o", "jsonpath={.spec.ports[*].protocol}"); got != "UDP TCP" {
		t.Errorf("ports: %q", got)
	}
}

func TestS160_ServiceColumns(t *testing.T) {
	s := start(t)
	s.create(t, "demoapp-loadbalancer-svc", "{type: LoadBalancer, loadBalancerIP: 1.2.3.4, selector: {app: demoapp}, ports: [{port: 80, name: http, targetPort: 80}]}")
	s.create(t, "headless", "{clusterIP: None}")
	columns(t, s.must(t, "", "get", "svc", "-o", "wide"),
		"NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
		"demoapp-loadbalancer-svc LoadBalancer * <pending> 80:*/TCP * app=demoapp",
		"headless ClusterIP None <none> <none> * <none>",
		"kubernetes ClusterIP 10.96.0.1 <none> 443/TCP * <none>")
	if got := s.must(t, "", "get", "svc"); regexp.MustCompile("SELECTOR").MatchString(got) {
		t.Errorf("the selector is shown without -o wide:\n%s", got)
	}
	if got := s.must(t, "", "get", "services", "--field-selector", "spec.type=LoadBalancer", "-o", "name"); got != "service/demoapp-loadbalancer-svc\n" {
		t.Errorf("field selector: %q", got)
	}
}
