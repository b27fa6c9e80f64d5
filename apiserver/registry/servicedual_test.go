package registry_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

// families are the Service ranges and the DNS addresses of a cluster.
func families(cfg *apiserver.Config, ranges ...string) {
	cfg.ServiceCIDRs, cfg.ClusterDNS = nil, nil
	for _, text := range ranges {
		p := netip.MustParsePrefix(text)
		cfg.ServiceCIDRs, cfg.ClusterDNS = append(cfg.ServiceCIDRs, p), append(cfg.ClusterDNS, p.Addr().Next().Next())
	}
	if cfg.ServiceCIDRs[0].Addr().Is6() {
		cfg.Bind = netip.AddrPortFrom(netip.IPv6Loopback(), cfg.Bind.Port())
		cfg.Advertise = netip.IPv6Loopback()
	}
}

// startWith runs an API server whose Services have the ranges, the primary first.
func startWith(t *testing.T, ranges ...string) *server {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	families(&cfg, ranges...)
	running, _ := apitest.Run(t, cfg)
	return connect(t, running.ClientConfig())
}

// addressing is what a Service says of its addresses, with each address replaced by its family.
func addressing(svc *corev1.Service) string {
	policy := "-"
	if svc.Spec.IPFamilyPolicy != nil {
		policy = string(*svc.Spec.IPFamilyPolicy)
	}
	var ips []string
	for _, ip := range svc.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			ip = map[bool]string{true: "4", false: "6"}[addr.Is4()]
		}
		ips = append(ips, ip)
	}
	return fmt.Sprintf("%s %s %s", policy, svc.Spec.IPFamilies, ips)
}

func (s *server) get(t *testing.T, namespace, name string) *corev1.Service {
	t.Helper()
	svc, err := s.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// Rules S20, S41 to S44 and S50 over the API: what a Service gets on clusters of each kind, the primary family first.
func TestS20_S50_AddressesOnEveryKindOfCluster(t *testing.T) {
	const four, six = "10.96.0.0/16", "fd00:10:96::/112"
	for _, cluster := range []struct {
		name   string
		ranges []string
		want   map[string]string // by the Service's specification; "!" begins a refusal
	}{
		{"IPv4 first", []string{four, six}, map[string]string{
			"":                                "SingleStack [IPv4] [4]",
			"ipFamilyPolicy: PreferDualStack": "PreferDualStack [IPv4 IPv6] [4 6]",
			"ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]": "RequireDualStack [IPv6 IPv4] [6 4]",
			"ipFamilies: [IPv6]":                "SingleStack [IPv6] [6]",
			"clusterIP: 'fd00:10:96::77'":       "SingleStack [IPv6] [6]",
			"clusterIP: None, selector: {a: b}": "SingleStack [IPv4] [None]",
			"clusterIP: None":                   "RequireDualStack [IPv4 IPv6] [None]",
		}},
		{"IPv6 first", []string{six, four}, map[string]string{
			"":                                  "SingleStack [IPv6] [6]",
			"ipFamilyPolicy: RequireDualStack":  "RequireDualStack [IPv6 IPv4] [6 4]",
			"clusterIP: None, selector: {a: b}": "SingleStack [IPv6] [None]",
		}},
		{"IPv6 alone", []string{six}, map[string]string{
			"":                                 "SingleStack [IPv6] [6]",
			"ipFamilyPolicy: PreferDualStack":  "PreferDualStack [IPv6] [6]",
			"ipFamilyPolicy: RequireDualStack": `!spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`,
			"ipFamilies: [IPv4]":               `!spec.ipFamilies[0]: Invalid value: "IPv4": not configured on this cluster`,
			"clusterIP: 10.96.0.9":             `!spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: IPv4 is not configured on this cluster`,
			"clusterIP: None":                  "RequireDualStack [IPv6 IPv4] [None]",
		}},
	} {
		t.Run(cluster.name, func(t *testing.T) {
			s := startWith(t, cluster.ranges...)
			for spec, want := range cluster.want {
				if spec != "" {
					spec += ", "
				}
				svc := service(t, "checked", "{"+spec+"ports: [{port: 80}]}")
				if refusal, refused := strings.CutPrefix(want, "!"); refused {
					s.checkService(t, svc, refusal)
					continue
				}
				made := s.create(t, svc.Name, "{"+spec+"ports: [{port: 80}]}")
				if got := addressing(made); got != want || made.Spec.ClusterIP != made.Spec.ClusterIPs[0] {
					t.Errorf("%s\n got %s, clusterIP %s\nwant %s", spec, got, made.Spec.ClusterIP, want)
				}
				s.remove(t, svc.Name)
			}
			primary, all := netip.MustParsePrefix(cluster.ranges[0]), len(cluster.ranges)
			if got := s.get(t, "default", "kubernetes").Spec.ClusterIPs; !slices.Equal(got, []string{primary.Addr().Next().String()}) {
				t.Errorf("S28: kubernetes has %s", got)
			}
			if got := s.get(t, "kube-system", "kube-dns"); len(got.Spec.ClusterIPs) != all || len(got.Spec.IPFamilies) != all {
				t.Errorf("kube-dns has %s %s", got.Spec.IPFamilies, got.Spec.ClusterIPs)
			}
		})
	}
}

// Rules S23, S24, S32 and S33 for the second address: its refusals, and that a failure keeps nothing of the first.
func TestS23_S24_S33_TheSecondAddress(t *testing.T) {
	s := startWith(t, "10.96.0.0/16", "fd00:10:96::/112")
	both := "{ipFamilyPolicy: RequireDualStack, clusterIP: 10.96.0.%d, clusterIPs: [10.96.0.%[1]d, '%s'], ports: [{port: 80}]}"
	s.create(t, "a", fmt.Sprintf(both, 20, "fd00:10:96::20"))
	for id, test := range map[string]struct{ ip, want string }{
		"S23": {"fd00:10:96::20", `spec.clusterIPs: Invalid value: ["10.96.0.21","fd00:10:96::20"]: failed to allocate IP fd00:10:96::20: provided IP is already allocated`},
		"S24": {"fd00:10:97::20", `spec.clusterIPs: Invalid value: ["10.96.0.21","fd00:10:97::20"]: failed to allocate IP fd00:10:97::20: provided IP is not in the valid range. The range of valid IPs is fd00:10:96::/112`},
	} {
		if got := complaint(s.createError(t, "b", fmt.Sprintf(both, 21, test.ip))); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", id, got, test.want)
		}
	}
	s.create(t, "b", fmt.Sprintf(both, 21, "fd00:10:96::21")) // S32: no try has kept 10.96.0.21
	s.remove(t, "a")
	s.create(t, "a", fmt.Sprintf(both, 20, "fd00:10:96::20")) // S33: both are free
}

// Rules S25 and S32: the second range is full, and the first keeps nothing of a Service that could not be made.
func TestS25_AFullSecondRange(t *testing.T) {
	s := startWith(t, "10.96.0.0/28", "fd00:10:96::/125")
	for i := range 6 { // seven addresses, one of them the cluster DNS's
		s.create(t, fmt.Sprintf("six-%d", i), "{ipFamilies: [IPv6], ports: [{port: 80}]}")
	}
	for range 20 { // more than the first range has
		err := s.createError(t, "both", "{ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}")
		if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "failed to allocate a serviceIP: range is full") {
			t.Fatal(err)
		}
	}
	s.create(t, "four", "ports: [{port: 80}]")
}

// Rules S48, S49, S80, S84 and S90 on a live Service: the second family comes and goes, the first stays.
func TestS48_S49_S90_TheSecondFamilyComesAndGoes(t *testing.T) {
	s := startWith(t, "10.96.0.0/16", "fd00:10:96::/112")
	single, require := corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyRequireDualStack
	svc := s.create(t, "a", "ports: [{port: 80}]")
	first := svc.Spec.ClusterIP

	svc.Spec.IPFamilyPolicy = &require
	svc = s.update(t, svc)
	if got := addressing(svc); got != "RequireDualStack [IPv4 IPv6] [4 6]" || svc.Spec.ClusterIP != first {
		t.Errorf("S49: %s, first %s, was %s", got, svc.Spec.ClusterIP, first)
	}
	second := svc.Spec.ClusterIPs[1]

	for id, change := range map[string]struct {
		do   func(*corev1.ServiceSpec)
		want string
	}{
		"S48 the address alone": {func(s *corev1.ServiceSpec) { s.ClusterIPs = s.ClusterIPs[:1] }, "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary cluster IP"},
		"S48 the family alone":  {func(s *corev1.ServiceSpec) { s.IPFamilies = s.IPFamilies[:1] }, "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family"},
		"S90 the order":         {func(s *corev1.ServiceSpec) { s.IPFamilies = []corev1.IPFamily{"IPv6", "IPv4"} }, "[spec.clusterIPs[0]: Invalid value:"},
		"S80 the second address": {func(s *corev1.ServiceSpec) { s.ClusterIPs = []string{first, "fd00:10:96::99"} },
			fmt.Sprintf("spec.clusterIPs[1]: Invalid value: [%q,\"fd00:10:96::99\"]: may not change once set", first)},
	} {
		changed := svc.DeepCopy()
		change.do(&changed.Spec)
		_, err := s.CoreV1().Services("default").Update(t.Context(), changed, metav1.UpdateOptions{})
		if got := complaint(err); !strings.HasPrefix(got, change.want) {
			t.Errorf("%s\n got %s\nwant %s", id, got, change.want)
		}
	}

	svc.Spec.IPFamilyPolicy = &single
	svc = s.update(t, svc)
	if got := addressing(svc); got != "SingleStack [IPv4] [4]" || svc.Spec.ClusterIP != first {
		t.Errorf("S48: %s, first %s, was %s", got, svc.Spec.ClusterIP, first)
	}
	s.create(t, "b", fmt.Sprintf("{clusterIP: '%s', ports: [{port: 80}]}", second)) // S91: it is free

	svc.Spec.IPFamilyPolicy = &require
	svc = s.update(t, svc)
	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, "api.example.com"
	svc = s.update(t, svc)
	if got := addressing(svc); got != "- [] []" {
		t.Errorf("S83: %s", got)
	}
	svc.Spec.Type, svc.Spec.ExternalName, svc.Spec.IPFamilyPolicy = corev1.ServiceTypeClusterIP, "", &require
	if svc = s.update(t, svc); addressing(svc) != "RequireDualStack [IPv4 IPv6] [4 6]" {
		t.Errorf("S84: %s", addressing(svc))
	}
}

// Rules S29 and S30 as far as reading goes: the ranges of Services as the ServiceCIDR kubernetes, and an IPAddress for
// each address in use, of both families, which comes and goes with its Service.
func TestS29_S30_RangesAndAddresses(t *testing.T) {
	s := startWith(t, "10.96.0.0/16", "fd00:10:96::/112")
	cidrs := s.must(t, "", "get", "servicecidrs")
	if want := regexp.MustCompile(`^NAME +CIDRS +AGE\nkubernetes +10\.96\.0\.0/16,fd00:10:96::/112 +\S+\n$`); !want.MatchString(cidrs) {
		t.Errorf("%s", cidrs)
	}
	if got := s.must(t, "", "get", "servicecidr", "kubernetes", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"); got != "True" {
		t.Errorf("S30: Ready is %q", got)
	}
	svc := s.create(t, "both", "{ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}")
	s.create(t, "headless", "{clusterIP: None, ports: [{port: 80}]}")
	listed := s.must(t, "", "get", "ipaddresses", "--no-headers", "-o", "custom-columns=N:.metadata.name,P:.spec.parentRef.name,F:.metadata.labels.ipaddress\\.kubernetes\\.io/ip-family")
	for i, family := range []string{"IPv4", "IPv6"} {
		if want := regexp.MustCompile(`(?m)^` + svc.Spec.ClusterIPs[i] + ` +both +` + family + `$`); !want.MatchString(listed) {
			t.Errorf("S29: %s is not in\n%s", want, listed)
		}
	}
	if n := strings.Count(listed, "\n"); n != 5 { // kubernetes, kube-dns and both: the rest has none
		t.Errorf("%d addresses:\n%s", n, listed)
	}
	if got := s.must(t, "", "get", "ip", svc.Spec.ClusterIPs[1]); !strings.Contains(got, "services/default/both") {
		t.Error(got)
	}
	if got := s.must(t, "", "get", "ip", "-l", "ipaddress.kubernetes.io/ip-family=IPv6", "-o", "name"); strings.Count(got, "\n") != 2 || strings.Contains(got, "10.96.") {
		t.Error(got)
	}
	s.remove(t, "both")
	if got := s.refused(t, "", "get", "ipaddress", svc.Spec.ClusterIP); !strings.Contains(got, `ipaddresses.networking.k8s.io "`+svc.Spec.ClusterIP+`" not found`) {
		t.Error(got)
	}
	if got := s.must(t, "", "explain", "servicecidr.spec.cidrs"); !strings.Contains(got, "VERSION:    v1") {
		t.Error(got)
	}
}

// Rule S90: of a headless Service the families may change, the first too.
func TestS90_HeadlessFamiliesMayChange(t *testing.T) {
	s := startWith(t, "10.96.0.0/16", "fd00:10:96::/112")
	svc := s.create(t, "a", "{clusterIP: None, selector: {a: b}, ports: [{port: 80}]}")
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	if svc = s.update(t, svc); addressing(svc) != "SingleStack [IPv6] [None]" {
		t.Error(addressing(svc))
	}
}

// A cluster that becomes dual-stack keeps its Services as they are (rule S44), knows which addresses of both families are
// taken after a restart, and gives its DNS Service the second address.
func TestS44_AClusterBecomesDualStack(t *testing.T) {
	dir := t.TempDir()
	open := func(ranges ...string) (*server, func()) {
		cfg := apitest.Config(t, dir)
		families(&cfg, ranges...)
		running, stop := apitest.Run(t, cfg)
		return connect(t, running.ClientConfig()), stop
	}
	s, stop := open("10.96.0.0/16")
	before := s.create(t, "before", "{ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}")
	dns := s.get(t, "kube-system", "kube-dns")
	stop()
	s, stop = open("10.96.0.0/16", "fd00:10:96::/112")
	s.create(t, "after", "{ipFamilyPolicy: RequireDualStack, clusterIP: 10.96.7.7, clusterIPs: [10.96.7.7, 'fd00:10:96::77'], ports: [{port: 80}]}")
	stop()
	s, _ = open("10.96.0.0/16", "fd00:10:96::/112")

	if got := s.get(t, "default", "before"); addressing(got) != "PreferDualStack [IPv4] [4]" || got.ResourceVersion != before.ResourceVersion {
		t.Errorf("a Service from before: %s", addressing(got))
	}
	got := complaint(s.createError(t, "third", "{clusterIP: 'fd00:10:96::77', ports: [{port: 80}]}"))
	if want := `spec.clusterIPs: Invalid value: ["fd00:10:96::77"]: failed to allocate IP fd00:10:96::77: provided IP is already allocated`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if now := s.get(t, "kube-system", "kube-dns"); now.UID != dns.UID || addressing(now) != "RequireDualStack [IPv4 IPv6] [4 6]" {
		t.Errorf("kube-dns: %s, made anew: %v", addressing(now), now.UID != dns.UID)
	}
}
