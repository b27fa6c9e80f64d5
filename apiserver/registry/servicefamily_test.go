package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/alloc"
)

// dualStack are the numbers of a cluster with two families.
func dualStack(t *testing.T) *numbers {
	t.Helper()
	ranges := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/112")}
	n, err := newNumbers(ranges, alloc.PortRange{First: 30000, Last: 32767})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// allocated is what the storage does with a Service before it validates the rest.
func allocated(n *numbers, svc, old *corev1.Service) error {
	s := &serviceStore{numbers: n}
	if old != nil {
		wipeForType(svc, old)
		carryOver(svc, old)
	}
	syncClusterIPs(svc, old)
	defaultService(svc)
	if errs := validateAddresses(svc, &corev1.Service{}); len(errs) > 0 {
		return errs.ToAggregate()
	}
	if errs := fillFamilies(svc, old, s.numbers.families()); len(errs) > 0 {
		return errs.ToAggregate()
	}
	c := &claim{numbers: n}
	if err := c.service(svc, old); err != nil {
		c.undo()
		return err
	}
	c.done()
	return nil
}

func withFamilies(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) *corev1.Service {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"a": "b"}, IPFamilies: families, Ports: []corev1.ServicePort{{Port: 80}}}}
	if policy != "" {
		svc.Spec.IPFamilyPolicy = &policy
	}
	return svc
}

func TestS40_S51_FamiliesOnADualStackCluster(t *testing.T) {
	const four, six = corev1.IPv4Protocol, corev1.IPv6Protocol
	with := func(svc *corev1.Service, change func(*corev1.ServiceSpec)) *corev1.Service {
		change(&svc.Spec)
		return svc
	}
	for _, test := range []struct {
		name string
		svc  *corev1.Service
		want string // policy, families, number of addresses; or the error
	}{
		{"S41 nothing said", withFamilies(""), "SingleStack [IPv4] 1"},
		{"S41 headless without a selector", with(withFamilies(""), func(s *corev1.ServiceSpec) { s.ClusterIP, s.Selector = "None", nil }), "RequireDualStack [IPv4 IPv6] 1"},
		{"S51 headless with one", with(withFamilies(""), func(s *corev1.ServiceSpec) { s.ClusterIP = "None" }), "SingleStack [IPv4] 1"},
		{"S42 from the address", with(withFamilies(""), func(s *corev1.ServiceSpec) { s.ClusterIP = "fd00::9" }), "SingleStack [IPv6] 1"},
		{"S44 prefer", withFamilies(corev1.IPFamilyPolicyPreferDualStack), "PreferDualStack [IPv4 IPv6] 2"},
		{"S50 prefer, six first", withFamilies(corev1.IPFamilyPolicyPreferDualStack, six), "PreferDualStack [IPv6 IPv4] 2"},
		{"S45 require", withFamilies(corev1.IPFamilyPolicyRequireDualStack), "RequireDualStack [IPv4 IPv6] 2"},
		{"S47 two families, no policy", withFamilies("", four, six), "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"},
		{"S47 two addresses, no policy", with(withFamilies(""), func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.ClusterIPs = "10.96.0.9", []string{"10.96.0.9", "fd00::9"}
		}), "[spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified, spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified]"},
		{"S40 external name", &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}}, "- [] 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := allocated(dualStack(t), test.svc, nil); err != nil {
				got = err.Error()
			} else {
				policy := "-"
				if test.svc.Spec.IPFamilyPolicy != nil {
					policy = string(*test.svc.Spec.IPFamilyPolicy)
				}
				got = fmt.Sprintf("%s %s %d", policy, test.svc.Spec.IPFamilies, len(test.svc.Spec.ClusterIPs))
			}
			if got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
			for i, ip := range test.svc.Spec.ClusterIPs {
				if ip != "None" && got == test.want && familyOf(ip) != test.svc.Spec.IPFamilies[i] {
					t.Errorf("address %d is %s, the family %s", i, ip, test.svc.Spec.IPFamilies[i])
				}
			}
		})
	}
}

func TestS48_S49_S91_DownAndUp(t *testing.T) {
	n := dualStack(t)
	svc := withFamilies(corev1.IPFamilyPolicyRequireDualStack)
	if err := allocated(n, svc, nil); err != nil {
		t.Fatal(err)
	}
	six := netip.MustParseAddr(svc.Spec.ClusterIPs[1])

	trimmed := svc.DeepCopy()
	trimmed.Spec.ClusterIPs, trimmed.Spec.IPFamilies = trimmed.Spec.ClusterIPs[:1], trimmed.Spec.IPFamilies[:1]
	err := allocated(n, trimmed, svc)
	if want := `[spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP, spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary IP family]`; err == nil || err.Error() != want {
		t.Errorf("S48 lists alone:\n got %v\nwant %s", err, want)
	}

	single, policy := svc.DeepCopy(), corev1.IPFamilyPolicySingleStack
	single.Spec.IPFamilyPolicy = &policy
	if err := allocated(n, single, svc); err != nil || !slices.Equal(single.Spec.ClusterIPs, svc.Spec.ClusterIPs[:1]) || len(single.Spec.IPFamilies) != 1 {
		t.Fatalf("S48 the policy alone: %v %+v", err, single.Spec)
	}
	if err := n.check(number{addr: six}, ""); err != nil {
		t.Errorf("S91: the second address is not free: %v", err)
	}

	again, prefer := single.DeepCopy(), corev1.IPFamilyPolicyPreferDualStack
	again.Spec.IPFamilyPolicy = &prefer
	if err := allocated(n, again, single); err != nil || len(again.Spec.ClusterIPs) != 2 || again.Spec.ClusterIPs[0] != svc.Spec.ClusterIPs[0] {
		t.Errorf("S49: %v %+v", err, again.Spec)
	}

	kept := again.DeepCopy()
	kept.Spec.ClusterIPs, kept.Spec.ClusterIP, kept.Spec.IPFamilies, kept.Spec.IPFamilyPolicy = nil, "", nil, nil
	if err := allocated(n, kept, again); err != nil || !slices.Equal(kept.Spec.ClusterIPs, again.Spec.ClusterIPs) || !slices.Equal(kept.Spec.IPFamilies, again.Spec.IPFamilies) {
		t.Errorf("S81: %v %+v", err, kept.Spec)
	}
}

func TestS44_PreferDualStackIsNotUpgradedByTheCluster(t *testing.T) {
	n := dualStack(t)
	svc := withFamilies(corev1.IPFamilyPolicyPreferDualStack)
	one, err := newNumbers(n.given[:1], n.ports.Range())
	if err != nil {
		t.Fatal(err)
	}
	if err := allocated(one, svc, nil); err != nil || len(svc.Spec.ClusterIPs) != 1 {
		t.Fatalf("%v %+v", err, svc.Spec)
	}
	updated := svc.DeepCopy()
	updated.Spec.Ports[0].Port = 81
	if err := allocated(n, updated, svc); err != nil || len(updated.Spec.ClusterIPs) != 1 {
		t.Errorf("%v %+v", err, updated.Spec)
	}
}

func TestS1_S10_ServiceDefaults(t *testing.T) {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{
		SessionAffinity: corev1.ServiceAffinityClientIP, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	defaultService(svc)
	spec := svc.Spec
	if spec.Type != corev1.ServiceTypeClusterIP || *spec.SessionAffinityConfig.ClientIP.TimeoutSeconds != 10800 || spec.Ports[0].Protocol != corev1.ProtocolTCP ||
		spec.Ports[0].TargetPort.IntVal != 80 || spec.ExternalTrafficPolicy != "" || *spec.InternalTrafficPolicy != corev1.ServiceInternalTrafficPolicyCluster ||
		spec.AllocateLoadBalancerNodePorts != nil {
		t.Errorf("ClusterIP: %+v", spec)
	}
	none := &corev1.Service{Spec: corev1.ServiceSpec{SessionAffinityConfig: &corev1.SessionAffinityConfig{}}}
	if defaultService(none); none.Spec.SessionAffinity != corev1.ServiceAffinityNone || none.Spec.SessionAffinityConfig != nil {
		t.Errorf("S2: %+v", none.Spec)
	}
	balancer := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	if defaultService(balancer); !*balancer.Spec.AllocateLoadBalancerNodePorts || balancer.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyCluster {
		t.Errorf("S6, S8: %+v", balancer.Spec)
	}
	name := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}}
	if defaultService(name); name.Spec.InternalTrafficPolicy != nil || name.Spec.ExternalTrafficPolicy != "" {
		t.Errorf("S7: %+v", name.Spec)
	}
}
