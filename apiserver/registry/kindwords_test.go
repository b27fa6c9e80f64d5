package registry_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// object is a manifest named x of a kind, with the fields that follow its metadata.
func object(version, kind, fields string) string {
	return "{apiVersion: " + version + ", kind: " + kind + ", metadata: {name: x}, " + fields + "}"
}

// secret is a manifest of a secret of the type that has one entry.
func secret(kind, key, value string) string {
	return object("v1", "Secret", "type: "+kind+", stringData: {"+key+": '"+value+"'}")
}

// slice is a manifest of an EndpointSlice for IPv4 with further fields.
func slice(fields string) string {
	return object("discovery.k8s.io/v1", "EndpointSlice", "addressType: IPv4, "+fields)
}

// workload is a manifest of a Deployment or ReplicaSet that is fine but for the fields.
func workload(kind, fields string) string {
	return workloadManifest(kind, "selector: {matchLabels: {app: web}}, "+webTemplate+", "+fields)
}

// event is a manifest of an event in the newer group that is fine but for the fields, which come last.
func event(fields string) string {
	return object("events.k8s.io/v1", "Event", "regarding: {namespace: default}, "+fields)
}

// repeat lists one item n times.
func repeat(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+", ", n), ", ") }

const (
	lease = "coordination.k8s.io/v1"
	told  = "eventTime: '2026-01-02T03:04:05.000006Z', reportingController: a.b/c, reportingInstance: d, action: e, reason: f, type: Normal"
)

// TestKindWords: a word or a value that the API does not know is refused in every kind, as TestPodWords says of pods.
func TestKindWords(t *testing.T) {
	endpoint := func(fields string) string { return slice("endpoints: [{addresses: [10.0.0.1], " + fields + "}]") }
	refusals{
		{"secret for SSH", secret("kubernetes.io/ssh-auth", "a", "b"), "data[ssh-privatekey]: Required value"},
		{"empty key for SSH", secret("kubernetes.io/ssh-auth", "ssh-privatekey", ""), "data[ssh-privatekey]: Required value"},
		{"secret for basic authentication", secret("kubernetes.io/basic-auth", "user", "b"), "[data[username]: Required value, data[password]: Required value]"},
		{"basic authentication without password", secret("kubernetes.io/basic-auth", "username", "b"), ""},
		{"registries without file", secret("kubernetes.io/dockerconfigjson", "config.json", "{}"), "data[.dockerconfigjson]: Required value"},
		{"registries in no JSON", secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", "auths:"), `data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": invalid character 'a' looking for beginning of value`},
		{"old registries in no JSON", secret("kubernetes.io/dockercfg", ".dockercfg", "[]"), `data[.dockercfg]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go value`},
		{"registries", secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", "{}"), ""},
		{"key without certificate", secret("kubernetes.io/tls", "tls.key", "a"), "data[tls.crt]: Required value"},
		{"token of nobody", secret("kubernetes.io/service-account-token", "a", "b"), "metadata.annotations[kubernetes.io/service-account.name]: Required value"},

		{"lease's transitions", object(lease, "Lease", "spec: {leaseTransitions: -1}"), "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"},
		{"lease's strategy", object(lease, "Lease", "spec: {strategy: example.com/mine}"), "spec.strategy: Forbidden: coordinated leader election is not supported"},
		{"coordinated election", object(lease, "Lease", "spec: {strategy: OldestEmulationVersion}"), "spec.strategy: Forbidden: coordinated leader election is not supported"},
		{"preferred holder", object(lease, "Lease", "spec: {preferredHolder: a}"), "spec.preferredHolder: Forbidden: coordinated leader election is not supported"},

		{"taint's effect", object("v1", "Node", "spec: {taints: [{key: a, effect: noSchedule}]}"), `metadata.taints[0].effect: Unsupported value: "noSchedule": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`},
		{"taint without effect", object("v1", "Node", "spec: {taints: [{key: a}]}"), "metadata.taints[0].effect: Required value"},
		{"taint without key", object("v1", "Node", "spec: {taints: [{effect: NoSchedule}]}"), "metadata.taints[0].key: Invalid value"},
		{"taint's value", object("v1", "Node", "spec: {taints: [{key: a, value: 'b c', effect: NoSchedule}]}"), `metadata.taints[0].value: Invalid value: "b c"`},
		{"taint twice", object("v1", "Node", "spec: {taints: [{key: a, value: b, effect: NoSchedule}, {key: a, effect: NoSchedule}]}"), `metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair`},
		{"taint with two effects", object("v1", "Node", "spec: {taints: [{key: a, effect: NoExecute}, {key: a, effect: NoSchedule}]}"), ""},
		{"pod range", object("v1", "Node", "spec: {podCIDR: 10.1.0.0, podCIDRs: [10.1.0.0]}"), `spec.podCIDRs[0]: Invalid value: "10.1.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`},
		{"two pod ranges of a family", object("v1", "Node", "spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}"), `may specify no more than one CIDR for each IP family`},
		{"two first pod ranges", object("v1", "Node", "spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.2.0.0/24]}"), ""},
		{"configuration of kubelets", object("v1", "Node", "spec: {configSource: {configMap: {namespace: a, name: b, kubeletConfigKey: c}}}"), "spec.configSource: Forbidden: dynamic configuration of nodes is not supported"},
		{"preemption on a node", object("v1", "Node", "spec: {podPreemptionPolicy: {disableResizePreemption: [a.b/c]}}"), "spec.podPreemptionPolicy: Forbidden: preemption is not supported"},
		{"capacity", object("v1", "Node", "status: {capacity: {cpu: -1}}"), `status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0`},
		{"parts of a pod", object("v1", "Node", "status: {allocatable: {pods: 500m}}"), `status.allocatable.pods: Invalid value: "500m": must be an integer`},

		{"namespace's finalizer", object("v1", "Namespace", "spec: {finalizers: [kubernets]}"), `spec.finalizers: Invalid value: "kubernets": name is neither a standard finalizer name nor is it fully qualified`},
		{"namespace's finalizer's form", object("v1", "Namespace", "spec: {finalizers: ['a b/c']}"), `spec.finalizers: Invalid value: "a b/c"`},
		{"namespace's finalizer of others", object("v1", "Namespace", "spec: {finalizers: [example.com/mine]}"), ""},

		{"address type", object("discovery.k8s.io/v1", "EndpointSlice", "addressType: ipv4, endpoints: []"), `addressType: Unsupported value: "ipv4": supported values: "FQDN", "IPv4", "IPv6"`},
		{"no address type", object("discovery.k8s.io/v1", "EndpointSlice", "endpoints: []"), "addressType: Required value"},
		{"address of the other family", slice("endpoints: [{addresses: ['fd00::1']}]"), `endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address`},
		{"no address", slice("endpoints: [{addresses: []}]"), "endpoints[0].addresses: Required value: must contain at least 1 address"},
		{"endpoint's host", endpoint("hostname: a.b"), `endpoints[0].hostname: Invalid value: "a.b"`},
		{"hints for nine zones", endpoint("hints: {forZones: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: f}, {name: g}, {name: h}, {name: i}]}"), "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"},
		{"hint twice", endpoint("hints: {forZones: [{name: a}, {name: a}]}"), `endpoints[0].hints.forZones[1].name: Duplicate value: "a"`},
		{"hint for a node", endpoint("hints: {forNodes: [{name: A_b}]}"), `endpoints[0].hints.forNodes[0].name: Invalid value: "A_b"`},
		{"1001 endpoints", slice("endpoints: [" + repeat("{addresses: [10.0.0.1]}", 1001) + "]"), "endpoints: Too many: 1001: must have at most 1000 items"},
		{"slice's port twice", slice("endpoints: [], ports: [{port: 1}, {port: 2}]"), `ports[1].name: Duplicate value: ""`},
		{"slice's protocol", slice("endpoints: [], ports: [{port: 1, protocol: tcp}]"), `ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"`},
		{"slice's port", slice("endpoints: [], ports: [{port: 65536}]"), "ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive"},
		{"slice's application protocol", slice("endpoints: [], ports: [{port: 1, appProtocol: a/b/c}]"), `ports[0].appProtocol: Invalid value: "a/b/c"`},
		{"endpoints' protocol", object("v1", "Endpoints", "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 1, protocol: tcp}]}]"), `subsets[0].ports[0].protocol: Unsupported value: "tcp"`},
		{"endpoints' host", object("v1", "Endpoints", "subsets: [{addresses: [{ip: 10.0.0.1, hostname: A}]}]"), `subsets[0].addresses[0].hostname: Invalid value: "A"`},
		{"endpoints nowhere", object("v1", "Endpoints", "subsets: [{ports: [{port: 1}]}]"), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"},

		{"history", workload("Deployment", "revisionHistoryLimit: -1"), "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"},
		{"seconds", workload("ReplicaSet", "minReadySeconds: -1"), "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"},
		{"replicas", workload("ReplicaSet", "replicas: -1"), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
		{"surge", workload("Deployment", "strategy: {rollingUpdate: {maxSurge: -1}}"), "spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"},
		{"nothing in percent", workload("Deployment", "strategy: {rollingUpdate: {maxSurge: 0%, maxUnavailable: 0%}}"), "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"},

		{"event", event(told), ""},
		{"event without a time", event("type: Normal"), "eventTime: Required value"},
		{"event's type", event(strings.Replace(told, "Normal", "Error", 1)), `type: Invalid value: "": has invalid value: Error`},
		{"event of nobody", event(strings.Replace(told, "reportingController: a.b/c, ", "", 1)), "reportingController: Required value"},
		{"event without an instance", event(strings.Replace(told, "reportingInstance: d, ", "", 1)), "reportingInstance: Required value"},
		{"event without an action", event(strings.Replace(told, "action: e, ", "", 1)), "action: Required value"},
		{"event without a reason", event(strings.Replace(told, "reason: f, ", "", 1)), "reason: Required value"},
		{"event's long reason", event(strings.Replace(told, "reason: f", "reason: "+strings.Repeat("f", 129), 1)), "reason: Invalid value: \"\": can have at most 128 characters"},
		{"event's long note", event(told + ", note: " + strings.Repeat("f", 1025)), "message: Invalid value: \"\": can have at most 1024 characters"},
		{"event that was counted", event(told + ", deprecatedCount: 1"), `count: Invalid value: "": needs to be unset`},
		{"event with an old source", event(told + ", deprecatedSource: {component: a}"), `source: Invalid value: "": needs to be unset`},
		{"series of one", event(told + ", series: {count: 1, lastObservedTime: '2026-01-02T03:04:05.000006Z'}"), `series.count: Invalid value: "": should be at least 2`},
		{"series without an end", event(told + ", series: {count: 2}"), "series.lastObservedTime: Required value"},
		{"event in the older group", object("v1", "Event", "involvedObject: {namespace: default}, type: Error"), ""},
		{"timed event in the older group", object("v1", "Event", "involvedObject: {namespace: default}, eventTime: '2026-01-02T03:04:05.000006Z'"), "reportingComponent: Required value"},
	}.run(t, start(t))
}

// changes are objects, a merge patch of each or of one of its parts, and what the API says about it; "" means that it is accepted.
type changes []struct{ id, manifest, part, patch, want string }

// run creates each object, under a name of its own, and patches it.
func (c changes) run(t *testing.T, s *server) {
	for i, test := range c {
		t.Run(test.id, func(t *testing.T) {
			name := fmt.Sprintf("x%d", i)
			manifest := strings.Replace(test.manifest, "{name: x", "{name: "+name, 1)
			s.must(t, manifest, "create", "-f", "-")
			err := s.CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath(path(t, manifest), name, test.part).
				Param("dryRun", metav1.DryRunAll).Body([]byte(test.patch)).Do(t.Context()).Error()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && err == nil:
				t.Error("accepted")
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("\n got %v\nwant %s", err, test.want)
			}
		})
	}
}

// TestChangedKindWords: a change is held against the same rules, also one of a status, and what is fixed stays.
func TestChangedKindWords(t *testing.T) {
	balanced := object("v1", "Service", "spec: {type: LoadBalancer, ports: [{port: 80}]}")
	node := object("v1", "Node", "spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24], providerID: a}")
	ingress := func(fields string) string { return `{"status":{"loadBalancer":{"ingress":[{` + fields + `}]}}}` }
	changes{
		{"balancer's mode", balanced, "status", ingress(`"ip":"192.0.2.1","ipMode":"vip"`), `status.loadBalancer.ingress[0].ipMode: Unsupported value: "vip": supported values: "Proxy", "VIP"`},
		{"balancer's mode without address", balanced, "status", ingress(`"hostname":"a.b","ipMode":"VIP"`), "status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"},
		{"balancer's host", balanced, "status", ingress(`"hostname":"192.0.2.1"`), `status.loadBalancer.ingress[0].hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address`},
		{"balancer", balanced, "status", ingress(`"ip":"192.0.2.1"`), ""},
		{"balancer's class", balanced, "", `{"spec":{"loadBalancerClass":"a/b"}}`, "spec.loadBalancerClass: Invalid value: \"a/b\": may not change once set"},

		{"deployment's selector", workload("Deployment", "replicas: 1"), "", `{"spec":{"selector":{"matchLabels":{"b":"c"}},"template":{"metadata":{"labels":{"b":"c"}}}}}`, "field is immutable"},
		{"deployment's counts", workload("Deployment", "replicas: 1"), "status", `{"status":{"replicas":-1}}`, "status.replicas: Invalid value: -1: must be greater than or equal to 0"},
		{"deployment's ready ones", workload("Deployment", "replicas: 1"), "status", `{"status":{"replicas":1,"readyReplicas":2}}`, "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"},
		{"replica set's selector", workload("ReplicaSet", "replicas: 1"), "", `{"spec":{"selector":{"matchLabels":{"b":"c"}},"template":{"metadata":{"labels":{"b":"c"}}}}}`, "field is immutable"},
		{"replica set's available ones", workload("ReplicaSet", "replicas: 1"), "status", `{"status":{"replicas":2,"readyReplicas":1,"availableReplicas":2}}`, "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"},
		{"replica set", workload("ReplicaSet", "replicas: 1"), "status", `{"status":{"replicas":2,"readyReplicas":2,"availableReplicas":2,"fullyLabeledReplicas":2}}`, ""},
		{"scale", workload("ReplicaSet", "replicas: 1"), "scale", `{"spec":{"replicas":-1}}`, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},

		{"node's range", node, "", `{"spec":{"podCIDR":"10.2.0.0/24","podCIDRs":["10.2.0.0/24"]}}`, `spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`},
		{"node's provider", node, "", `{"spec":{"providerID":"b"}}`, "spec.providerID: Invalid value: null: field cannot be modified once set"},
		{"node's configuration", node, "", `{"spec":{"configSource":{"configMap":{"name":"a"}}}}`, "spec.configSource: Forbidden"},
		{"node's addresses", node, "status", `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"},{"type":"InternalIP","address":"192.0.2.1"}]}}`, `status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"192.0.2.1"}`},
		{"node's capacity", node, "status", `{"status":{"capacity":{"memory":"-1"}}}`, `status.capacity.memory: Invalid value: "-1": must be greater than or equal to 0`},

		{"namespace's phase", object("v1", "Namespace", "spec: {}"), "status", `{"status":{"phase":"Gone"}}`, "status.Phase: Invalid value: \"Gone\": may only be 'Active' if `deletionTimestamp` is empty"},
		{"secret's type", secret("a/b", "a", "b"), "", `{"type":"a/c"}`, `type: Invalid value: "a/c": field is immutable`},
		{"slice's address type", slice("endpoints: []"), "", `{"addressType":"IPv6"}`, `addressType: Invalid value: "IPv6": field is immutable`},
		{"event's reason", event(told), "", `{"reason":"other"}`, "reason: Invalid value: \"other\": field is immutable"},
		{"event's series", event(told), "", `{"series":{"count":2,"lastObservedTime":"2026-01-02T03:04:05.000006Z"}}`, ""},
	}.run(t, start(t))
}

// TestKindWarnings: what may be set and has no effect is said.
func TestKindWarnings(t *testing.T) {
	s := start(t)
	for _, test := range []struct{ manifest, want string }{
		{object("v1", "Service", "spec: {trafficDistribution: PreferClose, ports: [{port: 80}]}"), `spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"`},
		{object("v1", "Service", "spec: {type: LoadBalancer, loadBalancerSourceRanges: ['fd00:0::/8'], ports: [{port: 80}]}"), `spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "fd00:0::/8" should be in RFC 5952 canonical format ("fd00::/8")`},
		{object("discovery.k8s.io/v1", "EndpointSlice", "addressType: FQDN, endpoints: []"), "spec.addressType: FQDN endpoints are deprecated"},
		{object("v1", "Node", "spec: {externalID: a}"), "spec.externalID: this field is deprecated, and is unused by Kubernetes"},
	} {
		if _, stderr, err := s.kubectl(t, test.manifest, "create", "--dry-run=server", "-f", "-"); err != nil || !strings.Contains(stderr, "Warning: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("\n got %s, %v\nwant %s", stderr, err, test.want)
		}
	}
}
