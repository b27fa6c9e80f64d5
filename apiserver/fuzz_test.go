package apiserver_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/internal/fuzz"
)

// examples are objects for the fuzzer to begin with, with many of their fields.
var examples = map[string]string{
	"pods": `{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: a}, annotations: {a: b}, finalizers: [example.com/x], ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: u}]},
		spec: {nodeName: node, terminationGracePeriodSeconds: 0, hostname: h, dnsPolicy: None, dnsConfig: {nameservers: [127.0.0.1], options: [{name: ndots, value: "2"}]}, hostAliases: [{ip: 127.0.0.1, hostnames: [x]}],
		affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}},
			podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: k, labelSelector: {matchLabels: {a: b}}}]}},
		topologySpreadConstraints: [{maxSkew: 1, topologyKey: k, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchExpressions: [{key: a, operator: Exists}]}}],
		tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 3}], securityContext: {runAsUser: 1, fsGroup: 2, supplementalGroups: [3], sysctls: [{name: net.core.somaxconn, value: "1"}]},
		volumes: [{name: e, emptyDir: {sizeLimit: 1Mi}}, {name: c, configMap: {name: c, items: [{key: k, path: p}]}}, {name: p, projected: {sources: [{secret: {name: s}}, {downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]}}],
		initContainers: [{name: i, image: i, restartPolicy: Always}], containers: [{name: c, image: i, command: [a], args: [b], workingDir: /, env: [{name: A, value: b}, {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}],
		envFrom: [{configMapRef: {name: c}}], ports: [{name: http, containerPort: 80, hostPort: 81, protocol: TCP}], resources: {requests: {cpu: 1m}, limits: {memory: 1Mi}},
		livenessProbe: {httpGet: {path: /, port: http, httpHeaders: [{name: A, value: b}]}, periodSeconds: 3}, readinessProbe: {exec: {command: [a]}}, startupProbe: {tcpSocket: {port: 80}},
		lifecycle: {preStop: {exec: {command: [a]}}}, volumeMounts: [{name: e, mountPath: /e, subPath: a}], securityContext: {privileged: false, capabilities: {drop: [ALL]}}}]}}`,
	"services": `{apiVersion: v1, kind: Service, metadata: {name: s, annotations: {fairlead.dev/balance: round-robin}}, spec: {type: LoadBalancer, selector: {app: a}, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}},
		externalTrafficPolicy: Local, internalTrafficPolicy: Cluster, loadBalancerSourceRanges: [127.0.0.0/8], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, trafficDistribution: PreferClose, ports: [{name: a, port: 80, targetPort: x, appProtocol: b}]}}`,
	"endpoints":  `{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: 192.0.2.1, hostname: h, nodeName: nodeode, targetRef: {kind: Pod, name: p}}], notReadyAddresses: [{ip: 192.0.2.2}], ports: [{name: a, port: 80, protocol: UDP}]}]}`,
	"configmaps": `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}, binaryData: {c: AAAA}}`,
	"secrets":    `{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/basic-auth, stringData: {username: a, password: b}}`,
	"events":     `{apiVersion: v1, kind: Event, metadata: {name: e}, involvedObject: {kind: Pod, namespace: default, name: p}, reason: A, message: b, type: Normal, firstTimestamp: "2026-01-01T00:00:00Z", count: 1}`,
	"nodes":      `{apiVersion: v1, kind: Node, metadata: {name: node, labels: {a: b}}, spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24], taints: [{key: a, effect: NoSchedule}]}, status: {capacity: {cpu: 1, pods: 10}, allocatable: {cpu: 1, pods: 10}}}`,
	"deployments": `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2, minReadySeconds: 1, revisionHistoryLimit: 1, progressDeadlineSeconds: 10, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 50%, maxUnavailable: 1}},
		selector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b]}]}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`,
	"replicasets":            `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r}, spec: {replicas: 1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`,
	"replicationcontrollers": `{apiVersion: v1, kind: ReplicationController, metadata: {name: r}, spec: {replicas: 1, minReadySeconds: 1, selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`,
	"podtemplates":           `{apiVersion: v1, kind: PodTemplate, metadata: {name: t}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i, resources: {limits: {cpu: 1}}}]}}}`,
	"controllerrevisions":    `{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r}, revision: 1, data: {spec: {a: b}}}`,
	"poddisruptionbudgets":   `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: {minAvailable: 50%, selector: {matchLabels: {a: b}}, unhealthyPodEvictionPolicy: AlwaysAllow}}`,
	"endpointslices": `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, ports: [{name: a, port: 80, protocol: TCP, appProtocol: x}],
		endpoints: [{addresses: [192.0.2.1], conditions: {ready: true}, hostname: h, nodeName: nodeode, zone: z, hints: {forZones: [{name: z}]}, targetRef: {kind: Pod, name: p}, deprecatedTopology: {a: b}}]}`,
	"ingresses": `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, annotations: {nginx.ingress.kubernetes.io/auth-secret: a/b}}, spec: {ingressClassName: c, defaultBackend: {resource: {apiGroup: a.b, kind: K, name: one}},
		tls: [{hosts: ["*.example.com"], secretName: s}], rules: [{host: a.example.com, http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}, {pathType: ImplementationSpecific, backend: {service: {name: s, port: {name: http}}}}]}}]},
		status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ports: [{port: 80, protocol: TCP}]}, {hostname: a.example.com}]}}}`,
	"ingressclasses": `{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: c, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}, spec: {controller: fairlead.dev/ingress, parameters: {apiGroup: a.b, kind: K, name: one, scope: Namespace, namespace: default}}}`,
	"leases":         `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l}, spec: {holderIdentity: a, leaseDurationSeconds: 3, renewTime: "2026-01-01T00:00:00.000000Z"}}`,
	"addresspools":   `{apiVersion: fairlead.dev/v1, kind: AddressPool, metadata: {name: lan}, spec: {addresses: [192.0.2.0/28, "2001:db8::1-2001:db8::9"], autoAssign: false, priority: 3, serviceSelector: {matchLabels: {a: b}}, announce: [L2]}}`,
	"bgppeers": `{apiVersion: fairlead.dev/v1, kind: BGPPeer, metadata: {name: tor}, spec: {peerAddress: 192.0.2.1, peerPort: 1179, peerASN: 64512, localASN: 64512, routerID: 192.0.2.2, passwordSecret: {name: s}, holdTimeSeconds: 9, multihop: 1,
		gracefulRestartSeconds: 60, nodeSelector: {matchLabels: {a: b}}, pools: [{name: lan, communities: ["1:2", "1:2:3"], localPreference: 200}]}}`,
	"widgets": `{apiVersion: shop.example.com/v1, kind: Widget, metadata: {name: w}, spec: {size: 1, parts: [a, b]}}`,
}

// Nothing that a client sends makes the server fail or panic.
func TestNonsenseIsRefused(t *testing.T) {
	cfg := apitest.Start(t)
	log := &lines{}
	apiserver.RedirectLogs(slog.New(slog.NewTextHandler(log, nil)))
	client := dynamicOf(t, cfg)
	if _, err := client.Resource(definitions()).Create(t.Context(), parse(t, widgetDefinition), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for resource, text := range examples {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
			t.Fatal(err)
		}
		gvr := obj.GroupVersionKind().GroupVersion().WithResource(resource)
		apitest.Eventually(t, func() string { // the definition is established a moment later
			namespace := ""
			for _, r := range served(t, cfg) {
				if r.Group == gvr.Group && r.Name == resource && r.Namespaced {
					namespace = "default"
				}
			}
			if _, err := client.Resource(gvr).Namespace(namespace).Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
				return resource + ": " + err.Error()
			}
			return ""
		})
	}
	for _, r := range served(t, cfg) {
		if !slices.Contains(r.Verbs, "create") || !slices.Contains(r.Verbs, "list") || withoutExample[r.Name] != "" {
			continue
		}
		list, err := client.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Name}).List(t.Context(), metav1.ListOptions{Limit: 1})
		if err != nil || len(list.Items) == 0 {
			t.Errorf("%s %s: the fuzzer has no example of it (%v)", r.Group, r.Name, err)
		}
	}
	found, err := fuzz.Run(t.Context(), cfg, 1, 6000)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
	for _, line := range log.with("panic") {
		t.Error(line)
	}
	list, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) < 5 {
		t.Errorf("afterwards: %v, %v", list, err)
	}
}

// served are the resources that the server has, without their subresources.
func served(t *testing.T, config *rest.Config) []metav1.APIResource {
	t.Helper()
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	var all []metav1.APIResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			r.Group, r.Version = gv.Group, gv.Version
			all = append(all, r)
		}
	}
	return all
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is part of io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) with(word string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, word) {
			found = append(found, line[:min(len(line), 2000)])
		}
	}
	return found
}
