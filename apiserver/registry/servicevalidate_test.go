package registry_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// parse reads a manifest into obj.
func parse[T any](t *testing.T, manifest string) *T {
	t.Helper()
	obj := new(T)
	if err := yaml.UnmarshalStrict([]byte(manifest), obj); err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	return obj
}

// service is a Service of the name with the specification, which is written as YAML on one line or several.
func service(t *testing.T, name, spec string) *corev1.Service {
	t.Helper()
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *parse[corev1.ServiceSpec](t, spec)}
}

// complaint is the part of an Invalid error after "is invalid: ".
func complaint(err error) string {
	if err == nil {
		return ""
	}
	_, after, ok := strings.Cut(err.Error(), " is invalid: ")
	if !ok {
		return err.Error()
	}
	return after
}

// serviceRefusals are specifications of Services and the beginning of what the API says about each; "" means that it is
// accepted.
type serviceRefusals []struct{ id, spec, want string }

func (r serviceRefusals) run(t *testing.T, s *server) {
	for _, test := range r {
		t.Run(test.id, func(t *testing.T) { s.checkService(t, service(t, "checked", test.spec), test.want) })
	}
}

// checkService creates the Service without keeping it and compares the complaint.
func (s *server) checkService(t *testing.T, svc *corev1.Service, want string) {
	t.Helper()
	_, err := s.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if got := complaint(err); (want == "") != (got == "") || !strings.HasPrefix(got, want) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestS100_S109_Ports(t *testing.T) {
	serviceRefusals{
		{"S100 no ports", "{}", "spec.ports: Required value"},
		{"S100 headless without ports", "clusterIP: None", ""},
		{"S100 external name without ports", "{type: ExternalName, externalName: a.example.com}", ""},
		{"S101", "ports: [{port: 80, name: a}, {port: 81}]", "spec.ports[1].name: Required value"},
		{"S102", "ports: [{port: 80, name: a}, {port: 81, name: a}]", `spec.ports[1].name: Duplicate value: "a"`},
		{"S103", "ports: [{port: 80, name: A_b}]", `spec.ports[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
		{"S104 too large", "ports: [{port: 65536}]", "[spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive]"},
		{"S104 zero", "ports: [{port: 0, targetPort: 80}]", "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"S105", "ports: [{port: 80, protocol: ICMP}]", `spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`},
		{"S106", "ports: [{port: 80, name: a}, {port: 80, name: b}]", "spec.ports[1]: Duplicate value:"},
		{"S106 two protocols", "ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]", ""},
		{"S107", "{type: NodePort, ports: [{port: 80, name: a, nodePort: 30010}, {port: 81, name: b, nodePort: 30010}]}", "spec.ports[1].nodePort: Duplicate value: 30010"},
		{"S108", "ports: [{port: 80, targetPort: too-long-port-name}]", `spec.ports[0].targetPort: Invalid value: "too-long-port-name": must be no more than 15 characters`},
		{"S109", "ports: [{port: 80, appProtocol: 'a/b/c'}]", `spec.ports[0].appProtocol: Invalid value: "a/b/c":`},
		{"S109 known", "ports: [{port: 80, appProtocol: kubernetes.io/h2c}]", ""},
		{"S114", "ports: [{port: 80, nodePort: 30080}]", "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
		{"a load balancer may not expose the agent", "{type: LoadBalancer, ports: [{port: 10250}]}", "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"},
	}.run(t, start(t))
}

func TestS110_S117_Types(t *testing.T) {
	serviceRefusals{
		{"S110", "{type: Cluster, ports: [{port: 80}]}", `spec.type: Unsupported value: "Cluster": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`},
		{"S111 LoadBalancer", "{type: LoadBalancer, clusterIP: None, ports: [{port: 80}]}", `spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services`},
		{"S111 NodePort", "{type: NodePort, clusterIP: None, ports: [{port: 80}]}", `spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`},
		{"S112 missing", "{type: ExternalName}", "spec.externalName: Required value"},
		{"S112 form", "{type: ExternalName, externalName: -x}", `spec.externalName: Invalid value: "-x": a lowercase RFC 1123 subdomain must consist of`},
		{"S112 trailing dot", "{type: ExternalName, externalName: a.example.com.}", ""},
		{"S113 clusterIP", "{type: ExternalName, externalName: a.b, clusterIP: 10.96.9.9}", "spec.clusterIPs: Forbidden: may not be set for ExternalName services"},
		{"S113 families", "{type: ExternalName, externalName: a.b, ipFamilies: [IPv4]}", "spec.ipFamilies: Forbidden: may not be set for ExternalName services"},
		{"S113 policy", "{type: ExternalName, externalName: a.b, ipFamilyPolicy: SingleStack}", "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"},
		{"S115", "{sessionAffinity: Cookie, ports: [{port: 80}]}", `spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"`},
		{"S117 zero", "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]}", "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"},
		{"S117 a day", "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}, ports: [{port: 80}]}", ""},
		{"S117 more", "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, ports: [{port: 80}]}", "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"},
	}.run(t, start(t))
}

func TestS45_S47_S118_S123_S134_Addresses(t *testing.T) {
	serviceRefusals{
		{"S118", "{clusterIP: 10.96.9.1, clusterIPs: [10.96.9.2], ports: [{port: 80}]}", "spec.clusterIPs: Invalid value: [\"10.96.9.2\"]: first value must match `clusterIP`"},
		{"S119", "{clusterIPs: [10.96.9.2], ports: [{port: 80}]}", "spec.clusterIPs: Invalid value: [\"10.96.9.2\"]: must be empty when `clusterIP` is not specified"},
		{"S120", "{clusterIP: None, clusterIPs: [None, 10.96.9.2], ports: [{port: 80}]}", `spec.clusterIPs: Invalid value: ["None","10.96.9.2"]: 'None' must be the first and only value`},
		{"S121", "{clusterIP: 10.96.9.1, clusterIPs: [10.96.9.1, 'fd00::1', 10.96.9.2], ports: [{port: 80}]}", `spec.clusterIPs: Invalid value: ["10.96.9.1","fd00::1","10.96.9.2"]: may only hold up to 2 values`},
		{"S122", "{clusterIP: 10.96.9.1, clusterIPs: [10.96.9.1, 10.96.9.2], ports: [{port: 80}]}", `spec.clusterIPs: Invalid value: ["10.96.9.1","10.96.9.2"]: may specify no more than one IP for each IP family`},
		{"S123", "{clusterIP: 'fd00::1', ipFamilies: [IPv4], ports: [{port: 80}]}", "spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[0]`"},
		{"S134", "{clusterIP: 010.96.9.1, ports: [{port: 80}]}", `spec.clusterIPs[0]: Invalid value: "010.96.9.1": must not have leading 0s`},
		{"S45", "{ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}", `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services`},
		{"S46 family", "{ipFamilies: [IPv6], ports: [{port: 80}]}", `spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`},
		{"S46 address", "{clusterIP: 'fd00::9', ports: [{port: 80}]}", `spec.clusterIPs[0]: Invalid value: ["fd00::9"]: IPv6 is not configured on this cluster`},
		{"S47", "{ipFamilies: [IPv4, IPv6], ports: [{port: 80}]}", `[spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified, spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster]`},
	}.run(t, start(t))
}

func TestS124_S133_Policies(t *testing.T) {
	serviceRefusals{
		{"S124 refused", "{externalIPs: [203.0.113.9], ports: [{port: 80}]}", "spec.externalIPs: Forbidden: external IPs are refused, because they let a user take over the traffic of any address (CVE-2020-8554); start the server with --allow-external-ips to allow them"},
		{"S125", "{loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]}", "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"S125 form", "{type: LoadBalancer, loadBalancerSourceRanges: [everyone], ports: [{port: 80}]}", `spec.LoadBalancerSourceRanges[0]: Invalid value: "everyone": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`},
		{"S125 blanks", "{type: LoadBalancer, loadBalancerSourceRanges: [' 10.0.0.0/8 '], ports: [{port: 80}]}", ""},
		{"S126", "{externalTrafficPolicy: Local, ports: [{port: 80}]}", `spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`},
		{"S126 value", "{type: NodePort, externalTrafficPolicy: Zone, ports: [{port: 80}]}", `spec.externalTrafficPolicy: Unsupported value: "Zone": supported values: "Cluster", "Local"`},
		{"S127", "{type: NodePort, healthCheckNodePort: 30100, ports: [{port: 80}]}", "spec.healthCheckNodePort: Invalid value: 30100: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
		{"S128", "{internalTrafficPolicy: Zone, ports: [{port: 80}]}", `spec.internalTrafficPolicy: Unsupported value: "Zone": supported values: "Cluster", "Local"`},
		{"S129", "{trafficDistribution: Near, ports: [{port: 80}]}", `spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"`},
		{"S129 known", "{trafficDistribution: PreferSameNode, ports: [{port: 80}]}", ""},
		{"S130", "{loadBalancerClass: a/b, ports: [{port: 80}]}", "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"S131", "{allocateLoadBalancerNodePorts: true, ports: [{port: 80}]}", "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"S133", "{selector: {app: 'a b'}, ports: [{port: 80}]}", `spec.selector: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
	}.run(t, start(t))
}

func TestS15_S16_S132_M16_Metadata(t *testing.T) {
	s := start(t)
	const http = "ports: [{port: 80}]"
	for _, test := range []struct {
		id   string
		svc  *corev1.Service
		want string
	}{
		{"S15", service(t, "1st", http), ""},
		{"S16", service(t, "Web", http), `metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of`},
		{"S132", func() *corev1.Service {
			svc := service(t, "a", http)
			svc.Annotations = map[string]string{corev1.AnnotationTopologyMode: "Auto", corev1.DeprecatedAnnotationTopologyAwareHints: "Disabled"}
			return svc
		}(), `metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified`},
		{"M16 label value", func() *corev1.Service {
			svc := service(t, "a", http)
			svc.Labels = map[string]string{"release": strings.Repeat("a", 64)}
			return svc
		}(), `metadata.labels: Invalid value: "` + strings.Repeat("a", 64) + `": must be no more than 63 bytes`},
		{"M16 label key", func() *corev1.Service {
			svc := service(t, "a", http)
			svc.Labels = map[string]string{"/x": "a"}
			return svc
		}(), `metadata.labels: Invalid value: "/x": prefix part must be non-empty`},
	} {
		t.Run(test.id, func(t *testing.T) { s.checkService(t, test.svc, test.want) })
	}
}
