package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testNode() Node {
	return Node{
		Name: "n1", CgroupRoot: "/fairlead/n1", Cluster: DNS{[]string{"10.96.0.10"}, "cluster.local"},
		Host:     Resolver{Servers: []string{"9.9.9.9"}, Searches: []string{"corp.example", "cluster.local"}, Options: []string{"rotate"}},
		Capacity: [2]int64{2000, 4 << 30},
	}
}

func testPod(change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Labels: map[string]string{"app": "a"}}}
	pod.Spec.DNSPolicy = corev1.DNSClusterFirst
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func TestN50_N51_N52_N53_N54_N55_Resolver(t *testing.T) {
	two := "2"
	own := &corev1.PodDNSConfig{
		Nameservers: []string{"1.1.1.1", "10.96.0.10"}, Searches: []string{"svc.cluster.local", "extra"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}},
	}
	policy := func(p corev1.DNSPolicy, host bool, c *corev1.PodDNSConfig) *corev1.Pod {
		return testPod(func(pod *corev1.Pod) { pod.Spec.DNSPolicy, pod.Spec.HostNetwork, pod.Spec.DNSConfig = p, host, c })
	}
	cluster := "10.96.0.10 | shop.svc.cluster.local svc.cluster.local cluster.local corp.example | ndots:5"
	node := "9.9.9.9 | corp.example cluster.local | rotate"
	tests := []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"N50 ClusterFirst", policy(corev1.DNSClusterFirst, false, nil), cluster},
		{"N51 ClusterFirst on the node's network", policy(corev1.DNSClusterFirst, true, nil), node},
		{"N52 ClusterFirstWithHostNet", policy(corev1.DNSClusterFirstWithHostNet, true, nil), cluster},
		{"N53 Default", policy(corev1.DNSDefault, false, nil), node},
		{"N54 None", policy(corev1.DNSNone, false, own), "1.1.1.1 10.96.0.10 | svc.cluster.local extra | ndots:2 edns0"},
		{"N55 merged", policy(corev1.DNSClusterFirst, false, own),
			"10.96.0.10 1.1.1.1 | shop.svc.cluster.local svc.cluster.local cluster.local corp.example extra | ndots:2 edns0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, left := PodResolver(test.pod, testNode())
			got := strings.Join(r.Servers, " ") + " | " + strings.Join(r.Searches, " ") + " | " + strings.Join(r.Options, " ")
			if got != test.want || left != nil {
				t.Errorf("got %q (%v), want %q", got, left, test.want)
			}
		})
	}
}

func TestN56_Limits(t *testing.T) {
	node := testNode()
	node.Host = Resolver{Servers: []string{"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}}
	for i := range 40 {
		node.Host.Searches = append(node.Host.Searches, fmt.Sprintf("d%d", i))
	}
	r, left := PodResolver(testPod(func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSDefault }), node)
	if len(r.Servers) != 3 || len(r.Searches) != 32 || len(left) != 2 {
		t.Errorf("%d servers, %d searches, told %q", len(r.Servers), len(r.Searches), left)
	}
	want := []string{
		"Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3",
		"Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(node.Host.Searches[:32], " "),
	}
	if !slices.Equal(left, want) {
		t.Errorf("told %q", left)
	}
	long := strings.Repeat("a", 253)
	node.Host.Servers, node.Host.Searches = nil, []string{"a" + long, long, strings.Repeat("b", 253)}
	for i := range 7 {
		node.Host.Searches = append(node.Host.Searches, strings.Repeat(fmt.Sprint(i), 253))
	}
	r, left = PodResolver(testPod(func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSDefault }), node)
	if len(r.Searches) != 8 || r.Searches[0] != long || len(strings.Join(r.Searches, " ")) > 2048 || len(left) != 1 {
		t.Errorf("%d searches, told %q", len(r.Searches), left)
	}
}

func TestParseResolvConf(t *testing.T) {
	got := ParseResolvConf("# x\nnameserver 1.1.1.1\nsearch a b\noptions ndots:2 rotate\nsearch c\nnameserver ::1\n")
	want := Resolver{[]string{"1.1.1.1", "::1"}, []string{"c"}, []string{"ndots:2", "rotate"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// A domain of the node's counts once, with and without a dot at its end (kubelet).
func TestN50_SearchDomainsOnce(t *testing.T) {
	node := testNode()
	node.Host = ParseResolvConf("search corp.example. cluster.local. corp.example .\n")
	r, left := PodResolver(testPod(), node)
	if got := strings.Join(r.Searches, " "); got != "shop.svc.cluster.local svc.cluster.local cluster.local corp.example ." || left != nil {
		t.Errorf("%s; %v", got, left)
	}
}

// TestN53_LoopbackResolver: pods cannot reach the node's loopback.
func TestN53_LoopbackResolver(t *testing.T) {
	behind := Resolver{Servers: []string{"192.0.2.53"}, Searches: []string{"behind"}}
	for text, want := range map[string]string{
		"nameserver 127.0.0.53\nsearch corp\n": "[192.0.2.53] [corp]", "nameserver ::1\n": "[192.0.2.53] []",
		"nameserver 127.0.0.53\nnameserver 9.9.9.9\n": "[127.0.0.53 9.9.9.9] []", "": "[] []",
	} {
		r := ParseResolvConf(text).ForPods(behind)
		if got := fmt.Sprint(r.Servers, r.Searches); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if r := ParseResolvConf("nameserver 127.0.0.53\n").ForPods(Resolver{}); len(r.Servers) != 1 {
		t.Errorf("nothing behind it: %v", r)
	}
}

func TestN57_Hostname(t *testing.T) {
	long := strings.Repeat("a", 62) + "-" + "b"
	tests := []struct{ name, host, sub, wantHost, wantFQDN string }{
		{"web", "", "", "web", ""},
		{"web", "h", "", "h", ""},
		{"web", "h", "s", "h", "h.s.shop.svc.cluster.local"},
		{long, "", "", strings.Repeat("a", 62), ""},
	}
	for _, test := range tests {
		pod := testPod(func(p *corev1.Pod) { p.Name, p.Spec.Hostname, p.Spec.Subdomain = test.name, test.host, test.sub })
		if host, fqdn := Hostname(pod, "cluster.local"); host != test.wantHost || fqdn != test.wantFQDN {
			t.Errorf("%v: got %s, %s", test, host, fqdn)
		}
	}
	yes := true
	pod := testPod(func(p *corev1.Pod) { p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = "s", &yes })
	if got := Sandbox(pod, testNode(), 0, "/logs").Hostname; got != "web.s.shop.svc.cluster.local" {
		t.Errorf("setHostnameAsFQDN: %s", got)
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "$(A)"}
	for text, want := range map[string]string{
		"$(A)":       "1",
		"x$(A)y$(A)": "x1y1",
		"$(NONE)":    "$(NONE)",
		"$$(A)":      "$(A)",
		"$$$(A)":     "$1",
		"$(B)":       "$(A)",
		"$A $":       "$A $",
		"$(A":        "$(A",
		"":           "",
	} {
		if got := Expand(text, values); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

func TestD8_ServiceEnv(t *testing.T) {
	service := func(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	m := EnvSources{
		Kubernetes: service("kubernetes", "10.96.0.1", corev1.ServicePort{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}),
		Services: []*corev1.Service{
			service("my-db", "10.96.0.7", corev1.ServicePort{Name: "sql-x", Port: 3306}, corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}),
			service("headless", "None", corev1.ServicePort{Port: 1}),
		},
	}
	got := ServiceEnv(testPod(), m)
	want := map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
		"KUBERNETES_PORT_443_TCP_PROTO": "tcp", "KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
		"MY_DB_SERVICE_HOST": "10.96.0.7", "MY_DB_SERVICE_PORT": "3306", "MY_DB_SERVICE_PORT_SQL_X": "3306", "MY_DB_PORT": "tcp://10.96.0.7:3306",
		"MY_DB_PORT_3306_TCP": "tcp://10.96.0.7:3306", "MY_DB_PORT_3306_TCP_PROTO": "tcp", "MY_DB_PORT_3306_TCP_PORT": "3306", "MY_DB_PORT_3306_TCP_ADDR": "10.96.0.7",
		"MY_DB_PORT_53_UDP": "udp://10.96.0.7:53", "MY_DB_PORT_53_UDP_PROTO": "udp", "MY_DB_PORT_53_UDP_PORT": "53", "MY_DB_PORT_53_UDP_ADDR": "10.96.0.7",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	no := false
	if got := ServiceEnv(testPod(func(p *corev1.Pod) { p.Spec.EnableServiceLinks = &no }), m); len(got) != 8 {
		t.Errorf("enableServiceLinks false: %d variables, want those of kubernetes", len(got))
	}
}

func TestEnv(t *testing.T) {
	yes := true
	c := &corev1.Container{Name: "c",
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "absent"}, Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "X", Value: "x"},
			{Name: "Y", Value: "$(X)$(P_k)$(Z)"},
			{Name: "Z", Value: "later"},
			{Name: "X", Value: "again"},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Key: "none", Optional: &yes}}},
			{Name: "MEM", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
		},
	}
	pod := testPod(func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{*c} })
	m := EnvSources{ConfigMaps: map[string]*corev1.ConfigMap{"m": {Data: map[string]string{"k": "v"}}}}
	got, err := Env(pod, c, testNode(), m)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, kv := range got {
		words = append(words, kv.Key+"="+string(kv.Value))
	}
	if text := strings.Join(words, " "); text != "P_k=v X=again Y=xv$(Z) Z=later MEM=4096" {
		t.Errorf("got %s", text)
	}
	c.Env = []corev1.EnvVar{{Name: "S", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}}}}
	if _, err := Env(pod, c, testNode(), m); err == nil || err.Error() != `secret "s" not found` {
		t.Errorf("got %v", err)
	}
}

func TestField(t *testing.T) {
	pod := testPod(func(p *corev1.Pod) {
		p.Labels["b"] = "x\"y"
		p.Status.PodIPs = []corev1.PodIP{{IP: "1.1.1.1"}, {IP: "::1"}}
	})
	for path, want := range map[string]string{
		"metadata.name": "web", "metadata.labels['app']": "a", "metadata.labels": "app=\"a\"\nb=\"x\\\"y\"", "status.podIPs": "1.1.1.1,::1", "metadata.annotations['none']": "",
	} {
		if got, err := Field(pod, path); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := Field(pod, "spec.secrets"); err == nil {
		t.Error("an unknown field: want an error")
	}
}

func TestResources(t *testing.T) {
	c := &corev1.Container{Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("1Gi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceMemory: resource.MustParse("2Gi")},
	}}
	got := Resources(testPod(func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSBurstable }), c, 4<<30)
	want := &runtimeapi.LinuxContainerResources{CpuShares: 256, CpuPeriod: 100000, CpuQuota: 150000, MemoryLimitInBytes: 2 << 30, OomScoreAdj: 750}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	none := Resources(testPod(func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSBestEffort }), &corev1.Container{}, 4<<30)
	if none.CpuShares != 2 || none.CpuQuota != 0 || none.OomScoreAdj != 1000 {
		t.Errorf("best effort: %v", none)
	}
}

func TestSecurity(t *testing.T) {
	zero, seven, yes, no := int64(0), int64(7), true, false
	c := &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{
		RunAsUser: &seven, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
	}}
	pod := testPod(func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &zero, RunAsGroup: &seven, FSGroup: &seven,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	})
	got, err := Security(pod, c, User{})
	if err != nil {
		t.Fatal(err)
	}
	if got.RunAsUser.Value != 7 || got.RunAsGroup.Value != 7 || !got.NoNewPrivs || !got.ReadonlyRootfs || got.SupplementalGroups[0] != 7 ||
		got.Capabilities.AddCapabilities[0] != "NET_ADMIN" || got.Capabilities.DropCapabilities[0] != "ALL" ||
		got.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault || len(got.MaskedPaths) == 0 {
		t.Errorf("got %v", got)
	}
	privileged, err := Security(testPod(), &corev1.Container{SecurityContext: &corev1.SecurityContext{Privileged: &yes}}, User{})
	if err != nil || !privileged.Privileged || len(privileged.MaskedPaths) != 0 || privileged.Seccomp.ProfileType != runtimeapi.SecurityProfile_Unconfined {
		t.Errorf("privileged: %v, %v", privileged, err)
	}
	nonRoot := &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &yes}}
	if _, err := Security(testPod(), nonRoot, User{}); err == nil || err.Error() != `container has runAsNonRoot and image will run as root (pod: "web_shop(u1)", container: c)` {
		t.Errorf("got %v", err)
	}
	if _, err := Security(testPod(), nonRoot, User{Name: "www"}); err == nil || !strings.Contains(err.Error(), "non-numeric user (www)") {
		t.Errorf("got %v", err)
	}
	if _, err := Security(testPod(), nonRoot, User{UID: &seven}); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestSeccomp: no way of writing a profile leads to a container without one, but those that ask for it.
func TestSeccomp(t *testing.T) {
	yes, file, path := true, "profiles/a.json", "/../../etc/a.json"
	privileged := &corev1.SecurityContext{Privileged: &yes}
	profile := func(kind corev1.SeccompProfileType, file *string) *corev1.SeccompProfile {
		return &corev1.SeccompProfile{Type: kind, LocalhostProfile: file}
	}
	for _, test := range []struct {
		name      string
		pod       *corev1.SeccompProfile
		container *corev1.SecurityContext
		want      runtimeapi.SecurityProfile_ProfileType
		file      string
	}{
		{"nothing said", nil, nil, runtimeapi.SecurityProfile_RuntimeDefault, ""},
		{"unconfined pod", profile("Unconfined", nil), nil, runtimeapi.SecurityProfile_Unconfined, ""},
		{"container over pod", profile("Unconfined", nil), &corev1.SecurityContext{SeccompProfile: profile("RuntimeDefault", nil)}, runtimeapi.SecurityProfile_RuntimeDefault, ""},
		{"misspelt", profile("unconfined", nil), nil, runtimeapi.SecurityProfile_RuntimeDefault, ""},
		{"no file", profile("Localhost", nil), nil, runtimeapi.SecurityProfile_RuntimeDefault, ""},
		{"file", profile("Localhost", &file), nil, runtimeapi.SecurityProfile_Localhost, "/var/lib/kubelet/seccomp/profiles/a.json"},
		{"file outside", profile("Localhost", &path), nil, runtimeapi.SecurityProfile_Localhost, "/var/lib/kubelet/seccomp/etc/a.json"},
		{"privileged", profile("RuntimeDefault", nil), privileged, runtimeapi.SecurityProfile_Unconfined, ""},
	} {
		pod := testPod(func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: test.pod} })
		got, err := Security(pod, &corev1.Container{SecurityContext: test.container}, User{})
		if err != nil || got.Seccomp.ProfileType != test.want || got.Seccomp.LocalhostRef != test.file {
			t.Errorf("%s: %v, %v", test.name, got.GetSeccomp(), err)
		}
	}
}

// TestProcMount: no word makes the kernel's files writable.
func TestProcMount(t *testing.T) {
	for _, word := range []corev1.ProcMountType{"Unmasked", "unmasked", "Default", ""} {
		got, err := Security(testPod(), &corev1.Container{SecurityContext: &corev1.SecurityContext{ProcMount: &word}}, User{})
		if err != nil || len(got.MaskedPaths) == 0 || !slices.Contains(got.ReadonlyPaths, "/proc/sys") {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
}

// TestSysctlSeparators: both ways of writing a sysctl are one (sysctl(8)).
func TestSysctlSeparators(t *testing.T) {
	pod := testPod(func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net/ipv4/tcp_syncookies", Value: "1"}}}
	})
	if got := Sandbox(pod, testNode(), 0, "/logs").Linux.Sysctls; len(got) != 1 || got["net.ipv4.tcp_syncookies"] != "1" {
		t.Errorf("%v", got)
	}
}

func TestForbiddenSysctl(t *testing.T) {
	with := func(name string, host bool) *corev1.Pod {
		return testPod(func(p *corev1.Pod) {
			p.Spec.HostNetwork = host
			p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: name, Value: "1"}}}
		})
	}
	for _, test := range []struct {
		pod  *corev1.Pod
		want string
	}{
		{testPod(), ""},
		{with("net.ipv4.tcp_syncookies", false), ""},
		{with("net/ipv4/tcp_syncookies", false), ""},
		{with("kernel.msgmax", false), `forbidden sysctl: "kernel.msgmax" not allowlisted`},
		{with("net.ipv4.tcp_syncookies", true), `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
	} {
		if got := ForbiddenSysctl(test.pod); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestD9_Hosts(t *testing.T) {
	pod := testPod(func(p *corev1.Pod) {
		p.Spec.HostAliases = []corev1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"x", "y"}}}
	})
	got := Hosts(pod, "cluster.local", []string{"10.1.1.1"})
	if !strings.Contains(got, "127.0.0.1\tlocalhost\n") || !strings.Contains(got, "\n10.1.1.1\tweb\n") || !strings.HasSuffix(got, "\n1.2.3.4\tx\ty\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestKeyFiles(t *testing.T) {
	data := map[string][]byte{"b": []byte("2"), "a": []byte("1")}
	mode := int32(0o400)
	got, err := KeyFiles(data, nil, false, &mode)
	if err != nil || len(got) != 2 || got[0].Path != "a" || got[0].Mode != 0o400 {
		t.Errorf("got %v, %v", got, err)
	}
	items := []corev1.KeyToPath{{Key: "a", Path: "x/y"}, {Key: "none", Path: "z"}}
	if _, err := KeyFiles(data, items, false, nil); err == nil {
		t.Error("a missing key: want an error")
	}
	if got, err := KeyFiles(data, items, true, nil); err != nil || len(got) != 1 || got[0].Path != "x/y" || got[0].Mode != 0o644 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestTokensAreForTheirReaders: the group of the pod, or the one user of all of its containers; else whoever the volume's mode allows.
func TestTokensAreForTheirReaders(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	as := func(users ...*int64) *corev1.Pod {
		p := &corev1.Pod{}
		for _, u := range users {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: u}})
		}
		return p
	}
	general := as(nil, id(7))
	general.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: id(7)}
	group := as(id(7), id(8))
	group.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: id(9)}
	for what, test := range map[string]struct {
		pod  *corev1.Pod
		user *int64
		mode uint32
	}{
		"nobody said": {as(nil), nil, 0o644}, "one user": {as(id(7), id(7)), id(7), 0o600}, "two users": {as(id(7), id(8)), nil, 0o644},
		"one of two said": {as(id(7), nil), nil, 0o644}, "for the pod": {general, id(7), 0o600}, "a group": {group, nil, 0o600},
	} {
		got := PrivateFile(test.pod, "token", nil)
		if got.Mode != test.mode || (got.User == nil) != (test.user == nil) || got.User != nil && *got.User != *test.user {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
