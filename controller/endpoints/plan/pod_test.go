package plan

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/sample"
)

func TestE3_EndedPodsAreNoEndpoints(t *testing.T) {
	evicted := sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	completed := sample.Pod("b", "10.0.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	for _, svc := range []*corev1.Service{sample.Service(), sample.Service(sample.PublishNotReady)} {
		equal(t, planned(t, svc, evicted, completed), "create IPv4 ->")
	}
}

func TestE4_PodsWithoutAddressAreNoEndpoints(t *testing.T) {
	pod := sample.Pod("a", "", func(p *corev1.Pod) { p.Status.PodIPs = nil })
	equal(t, planned(t, sample.Service(sample.PublishNotReady), pod), "create IPv4 ->")
}

// unusable are addresses at which no pod can be.
var unusable = []string{"127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "239.1.2.3", "255.255.255.255", "::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "10.0.0.300", "fe80::1%eth0", "x"}

func TestE4_UnusableAddressesAreNone(t *testing.T) {
	for _, ip := range unusable {
		pod := sample.Pod("a", ip)
		equal(t, planned(t, sample.Service(), pod, sample.Pod("b", "10.0.0.2")), "create IPv4 http:8080/TCP -> 10.0.0.2(ready,serving)")
		if got := api.UnusablePodAddresses(pod); !slices.Equal(got, []string{ip}) {
			t.Errorf("%s: %v", ip, got)
		}
	}
	mapped := sample.Pod("a", "::ffff:10.0.0.1")
	equal(t, planned(t, sample.Service(), mapped), "create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	if got := api.UnusablePodAddresses(mapped); got != nil {
		t.Errorf("mapped: %v", got)
	}
}

func TestE6_ReadyIsTheReadyCondition(t *testing.T) {
	silent := sample.Pod("b", "10.0.0.2", func(p *corev1.Pod) { p.Status.Conditions = nil })
	equal(t, planned(t, sample.Service(), sample.Pod("a", "10.0.0.1"), silent, sample.Pod("c", "10.0.0.3", sample.Unready)),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving) 10.0.0.2() 10.0.0.3()")
}

// namedTarget makes the Service's port refer to the container port "serve".
func namedTarget(svc *corev1.Service) { svc.Spec.Ports[0].TargetPort = intstr.FromString("serve") }

// serves gives the pod's first container a port named "serve".
func serves(port int32, protocol corev1.Protocol) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		c := &pod.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: "serve", ContainerPort: port, Protocol: protocol})
	}
}

func TestE7_NumericTargetNeedsNoDeclaration(t *testing.T) {
	equal(t, planned(t, sample.Service(), sample.Pod("a", "10.0.0.1")), "create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
}

func TestE8_NamedTargetMatchesNameAndProtocol(t *testing.T) {
	sidecar := func(policy *corev1.ContainerRestartPolicy) *corev1.Pod {
		return sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{
				Name: "i", RestartPolicy: policy,
				Ports: []corev1.ContainerPort{{Name: "serve", ContainerPort: 9}},
			}}
		})
	}
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"of the same protocol", sample.Pod("a", "10.0.0.1", serves(1, corev1.ProtocolUDP), serves(2, corev1.ProtocolTCP)), "create IPv4 http:2/TCP -> 10.0.0.1(ready,serving)"},
		{"no protocol is TCP", sample.Pod("a", "10.0.0.1", serves(3, "")), "create IPv4 http:3/TCP -> 10.0.0.1(ready,serving)"},
		{"of a sidecar", sidecar(ptr.To(corev1.ContainerRestartPolicyAlways)), "create IPv4 http:9/TCP -> 10.0.0.1(ready,serving)"},
		{"not of an init container", sidecar(nil), "create IPv4 -> 10.0.0.1(ready,serving)"},
		{"containers come first", func() *corev1.Pod {
			p := sidecar(ptr.To(corev1.ContainerRestartPolicyAlways))
			serves(4, corev1.ProtocolTCP)(p)
			return p
		}(), "create IPv4 http:4/TCP -> 10.0.0.1(ready,serving)"},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, planned(t, sample.Service(namedTarget), c.pod), c.want) })
	}
}

func TestE9_NamedTargetMayDifferFromPodToPod(t *testing.T) {
	equal(t, planned(t, sample.Service(namedTarget),
		sample.Pod("a", "10.0.0.1", serves(8080, "TCP")), sample.Pod("b", "10.0.0.2", serves(9090, "TCP"))),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)",
		"create IPv4 http:9090/TCP -> 10.0.0.2(ready,serving)")
}

func TestE10_PodWithoutTheNamedPortIsInASliceWithoutPorts(t *testing.T) {
	equal(t, planned(t, sample.Service(namedTarget), sample.Pod("a", "10.0.0.1")), "create IPv4 -> 10.0.0.1(ready,serving)")
}

func TestE11_PortsAreNamedAfterTheServicePort(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) {
		s.Spec.Ports[0].Name = ""
		s.Spec.Ports[0].AppProtocol = ptr.To("kubernetes.io/h2c")
	})
	port := onlySlice(t, svc, sample.Pod("a", "10.0.0.1")).Ports[0]
	if port.Name == nil || *port.Name != "" {
		t.Errorf("name = %v, want a pointer to the empty name", port.Name)
	}
	if ptr.Deref(port.AppProtocol, "") != "kubernetes.io/h2c" {
		t.Errorf("appProtocol = %v", port.AppProtocol)
	}
}

func TestE12_HostnameNeedsTheServiceAsSubdomain(t *testing.T) {
	for _, c := range []struct{ hostname, subdomain, want string }{
		{"a-0", "web", "a-0"},
		{"a-0", "", ""},
		{"a-0", "other", ""},
		{"", "web", ""},
	} {
		pod := sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = c.hostname, c.subdomain })
		got := onlySlice(t, sample.Service(), pod).Endpoints[0].Hostname
		if ptr.Deref(got, "") != c.want || got != nil && *got == "" {
			t.Errorf("hostname %q, subdomain %q: got %v, want %q", c.hostname, c.subdomain, got, c.want)
		}
	}
}

// Pods in the network of one node share its address and stay two endpoints.
func TestE15_PodsInTheNetworkOfTheirNode(t *testing.T) {
	onHost := func(p *corev1.Pod) { p.Spec.HostNetwork, p.Status.HostIP = true, "192.0.2.1" }
	pods := []*corev1.Pod{sample.Pod("a", "192.0.2.1", onHost), sample.Pod("b", "192.0.2.1", onHost, sample.Unready)}
	equal(t, planned(t, sample.Service(), pods...), "create IPv4 http:8080/TCP -> 192.0.2.1(ready,serving) 192.0.2.1()")
	equal(t, plannedV1(t, sample.Service(), pods...), "192.0.2.1 !192.0.2.1 : http:8080/TCP")
	equal(t, planned(t, sample.Service(), sample.Pod("c", "", onHost, func(p *corev1.Pod) { p.Status.PodIPs = nil })), "create IPv4 ->")
}

func TestE13_TargetRefNamesThePod(t *testing.T) {
	got := onlySlice(t, sample.Service(), sample.Pod("a", "10.0.0.1")).Endpoints[0].TargetRef
	if want := (corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "a", UID: "uid-a"}); *got != want {
		t.Errorf("got %v, want %v", *got, want)
	}
}
