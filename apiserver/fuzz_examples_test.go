package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"math/big"
	"strconv"
	"time"
)

// withoutExample are the kinds that the fuzzer begins with nothing of, with the reason.
var withoutExample = map[string]string{"podcertificaterequests": "a node makes them, for a pod that it runs, with a proof that it has the key"}

func signingRequest() string {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, key)
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func trusted() string {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, _ := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Further examples: of the kinds whose rules are upstream's and that no server has an object of from the start.
func init() {
	maps.Copy(examples, map[string]string{
		"limitranges":            `{apiVersion: v1, kind: LimitRange, metadata: {name: l}, spec: {limits: [{type: Container, default: {cpu: 1}, defaultRequest: {cpu: 1m}, max: {cpu: 2, memory: 1Gi}, min: {cpu: 1m}, maxLimitRequestRatio: {cpu: 2k}}, {type: PersistentVolumeClaim, max: {storage: 1Ti}}]}}`,
		"resourcequotas":         `{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: 1k, requests.cpu: 1k, count/deployments.apps: 1k}, scopes: [NotTerminating], scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [a]}]}}}`,
		"persistentvolumes":      `{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, storageClassName: s, local: {path: /x}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}}}`,
		"persistentvolumeclaims": `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], storageClassName: s, volumeMode: Filesystem, selector: {matchLabels: {a: b}}, resources: {requests: {storage: 1Gi}}, dataSourceRef: {apiGroup: a.b, kind: K, name: k}}}`,
		"statefulsets": `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s}, spec: {serviceName: s, replicas: 1, podManagementPolicy: Parallel, ordinals: {start: 1}, persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}, selector: {matchLabels: {a: b}},
			template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`,
		"daemonsets": `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {minReadySeconds: 1, updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`,
		"jobs": `{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {suspend: true, completionMode: Indexed, completions: 3, parallelism: 2, backoffLimitPerIndex: 1, ttlSecondsAfterFinished: 100000, podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]},
			successPolicy: {rules: [{succeededIndexes: 0-1}]}, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`,
		"cronjobs":                 `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {suspend: true, schedule: "*/5 * * * *", timeZone: Etc/UTC, concurrencyPolicy: Forbid, startingDeadlineSeconds: 10, jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: i}]}}}}}}`,
		"horizontalpodautoscalers": `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, minReplicas: 1, maxReplicas: 3, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}, {type: ContainerResource, containerResource: {name: cpu, container: c, target: {type: AverageValue, averageValue: 1}}}, {type: Object, object: {metric: {name: m, selector: {matchLabels: {a: b}}}, describedObject: {kind: K, name: nn}, target: {type: Value, value: 3}}}], behavior: {scaleDown: {stabilizationWindowSeconds: 3, selectPolicy: Min, policies: [{type: Pods, value: 1, periodSeconds: 5}]}}}}`,
		"networkpolicies":          `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np}, spec: {podSelector: {matchLabels: {a: b}}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.1/32]}}, {namespaceSelector: {}}], ports: [{port: 1, endPort: 2, protocol: TCP}]}], egress: [{to: [{podSelector: {}}]}]}}`,
		"servicecidrs":             `{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: sc}, spec: {cidrs: [198.18.0.0/24]}}`,
		"ipaddresses":              `{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 198.19.0.1}, spec: {parentRef: {group: a.b, resource: rs, namespace: x, name: m}}}`,
		"runtimeclasses":           `{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: rc}, handler: runc, overhead: {podFixed: {cpu: 1m}}, scheduling: {nodeSelector: {a: b}, tolerations: [{operator: Exists}]}}`,
		"priorityclasses":          `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: pc}, value: 3, globalDefault: false, description: d, preemptionPolicy: Never}`,
		"deviceclasses":            `{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: dc}, spec: {selectors: [{cel: {expression: "device.driver == 'a.example.com'"}}], config: [{opaque: {driver: a.example.com, parameters: {a: b}}}]}}`,
		"devicetaintrules":         `{apiVersion: resource.k8s.io/v1, kind: DeviceTaintRule, metadata: {name: t}, spec: {deviceSelector: {driver: a.example.com, pool: p, device: d}, taint: {key: example.com/a, value: b, effect: NoSchedule}}}`,
		"resourceclaims":           `{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: c}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: dc, allocationMode: ExactCount, count: 2}}, {name: f, firstAvailable: [{name: s, deviceClassName: dc}]}], constraints: [{requests: [r], matchAttribute: a.example.com/x}]}}}`,
		"resourceclaimtemplates":   `{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: c}, spec: {metadata: {labels: {a: b}}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: dc}}]}}}}`,
		"resourceslices":           `{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: s}, spec: {driver: a.example.com, nodeName: node, pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: d, attributes: {x: {string: yy}}, capacity: {m: {value: 1Gi}}}]}}`,
		"storageversionmigrations": `{apiVersion: storagemigration.k8s.io/v1, kind: StorageVersionMigration, metadata: {name: m}, spec: {resource: {group: none.example.com, resource: widgets}}}`,
		"storageclasses":           `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: s}, provisioner: a.example.com, parameters: {a: b}, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer, allowVolumeExpansion: true, mountOptions: [ro], allowedTopologies: [{matchLabelExpressions: [{key: a, values: [b]}]}]}`,
		"csidrivers":               `{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: a.example.com}, spec: {attachRequired: false, podInfoOnMount: true, volumeLifecycleModes: [Ephemeral], tokenRequests: [{audience: a, expirationSeconds: 3600}], fsGroupPolicy: File}}`,
		"csinodes":                 `{apiVersion: storage.k8s.io/v1, kind: CSINode, metadata: {name: node}, spec: {drivers: [{name: a.example.com, nodeID: nid, topologyKeys: [a], allocatable: {count: 3}}]}}`,
		"csistoragecapacities":     `{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: c}, storageClassName: s, capacity: 1Gi, maximumVolumeSize: 1Mi, nodeTopology: {matchLabels: {a: b}}}`,
		"volumeattachments":        `{apiVersion: storage.k8s.io/v1, kind: VolumeAttachment, metadata: {name: a}, spec: {attacher: a.example.com, nodeName: node, source: {persistentVolumeName: v}}}`,
		"volumeattributesclasses":  `{apiVersion: storage.k8s.io/v1, kind: VolumeAttributesClass, metadata: {name: a}, driverName: a.example.com, parameters: {a: b}}`,
		"certificatesigningrequests": `{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c}, spec: {signerName: example.com/a, usages: [client auth], expirationSeconds: 3600,
			request: ` + signingRequest() + `}}`,
		"clustertrustbundles":               `{apiVersion: certificates.k8s.io/v1, kind: ClusterTrustBundle, metadata: {name: "example.com:a:b"}, spec: {signerName: example.com/a, trustBundle: ` + strconv.Quote(trusted()) + `}}`,
		"validatingwebhookconfigurations":   `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: a.example.com, failurePolicy: Ignore, sideEffects: None, admissionReviewVersions: [v1], timeoutSeconds: 1, clientConfig: {url: "https://127.0.0.1:1/x"}, rules: [{apiGroups: [none.example.com], apiVersions: [v1], resources: [none], operations: [CREATE], scope: Namespaced}], matchConditions: [{name: c, expression: "true"}]}]}`,
		"mutatingwebhookconfigurations":     `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: a.example.com, failurePolicy: Ignore, reinvocationPolicy: IfNeeded, sideEffects: None, admissionReviewVersions: [v1], timeoutSeconds: 1, clientConfig: {service: {namespace: default, name: s, path: /x}}, rules: [{apiGroups: [none.example.com], apiVersions: [v1], resources: [none], operations: [CREATE]}]}]}`,
		"validatingadmissionpolicies":       `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: p}, spec: {failurePolicy: Ignore, paramKind: {apiVersion: v1, kind: ConfigMap}, matchConstraints: {resourceRules: [{apiGroups: [none.example.com], apiVersions: [v1], resources: [none], operations: [CREATE]}]}, variables: [{name: a, expression: "1"}], validations: [{expression: "variables.a == 1", messageExpression: "'x'", reason: Forbidden}], auditAnnotations: [{key: a, valueExpression: "'b'"}]}}`,
		"validatingadmissionpolicybindings": `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: p}, spec: {policyName: p, validationActions: [Warn, Audit], paramRef: {name: c, namespace: default, parameterNotFoundAction: Allow}, matchResources: {namespaceSelector: {matchLabels: {a: b}}}}}`,
		"mutatingadmissionpolicies":         `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: p}, spec: {failurePolicy: Ignore, reinvocationPolicy: Never, matchConstraints: {resourceRules: [{apiGroups: [none.example.com], apiVersions: [v1], resources: [none], operations: [CREATE]}]}, mutations: [{patchType: JSONPatch, jsonPatch: {expression: '[JSONPatch{op: "add", path: "/metadata/labels/a", value: "b"}]'}}]}}`,
		"mutatingadmissionpolicybindings":   `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: p}, spec: {policyName: p, matchResources: {objectSelector: {matchLabels: {a: b}}}}}`,
	})
}
