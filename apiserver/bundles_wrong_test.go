package apiserver_test

// variant is an object of a bundle with one field changed to a value (JSON), which is refused in words that are Kubernetes' own. The
// field is a path of names and numbers of items, in which ~ stands for a slash.
type variant struct{ object, field, value, words string }

// wrongVariants are the variants by bundle.
var wrongVariants = map[string][]variant{
	"podinfo": {
		{"Deployment/podinfo", "spec/replicas", `-1`, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
		{"Deployment/podinfo", "spec/replcas", `1`, ".spec.replcas: field not declared in schema"},
		{"Deployment/podinfo", "spec/selector/matchLabels", `{"app": "other"}`, "`selector` does not match template `labels`"},
		{"Deployment/podinfo", "spec/template/spec/containers/0/ports/0/name", `"UPPER"`, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"},
		{"Deployment/podinfo", "spec/template/spec/containers/0/volumeMounts/0/name", `"other"`, `spec.template.spec.containers[0].volumeMounts[0].name: Not found: "other"`},
		{"PodDisruptionBudget/podinfo", "spec/maxUnavailable", `1`, "minAvailable and maxUnavailable cannot be both set"},
		{"Ingress/podinfo", "spec/rules/0/http/paths/0/pathType", `"Regex"`, `pathType: Unsupported value: "Regex"`},
		{"Service/podinfo", "spec/ports/0/port", `0`, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"Namespace/podinfo", "metadata/labels/pod-security.kubernetes.io~enforce", `"strict"`, "must be one of privileged, baseline, restricted"},
	},
	"metrics-server": {
		{"APIService/v1beta1.metrics.k8s.io", "spec/versionPriority", `0`, "spec.versionPriority: Invalid value: 0: must be positive and less than 1000"},
		{"APIService/v1beta1.metrics.k8s.io", "spec/version", `"v1"`, "must be `spec.version+\".\"+spec.group`"},
		{"ClusterRole/system:metrics-server", "rules/0/verbs", `[]`, "rules[0].verbs: Required value"},
		{"ClusterRoleBinding/metrics-server:system:auth-delegator", "roleRef/name", `"view"`, "roleRef: Invalid value: "},
		{"ClusterRoleBinding/metrics-server:system:auth-delegator", "subjects/0/namespace", `""`, "subjects[0].namespace: Required value"},
	},
	"cert-manager": {
		{"Certificate/shop", "spec/renewBeforePercentage", `20`, "renewBefore and renewBeforePercentage exclude each other"},
		{"Certificate/shop", "spec/usages/0", `"everything"`, `spec.usages[0]: Unsupported value: "everything"`},
		{"Certificate/shop", "spec/secretNames", `"x"`, ".spec.secretNames: field not declared in schema"},
		{"Certificate/shop", "metadata/namespace", `"default"`, `failed calling webhook "webhook.certs.example.io"`},
		{"CustomResourceDefinition/certificates.certs.example.io", "spec/conversion/webhook/conversionReviewVersions", `[]`, "spec.conversion.conversionReviewVersions: Required value"},
		{"CustomResourceDefinition/certificates.certs.example.io", "spec/versions/0/schema/openAPIV3Schema/properties/spec/type", `"strange"`, "Unsupported value: \"strange\""},
		{"CustomResourceDefinition/certificates.certs.example.io", "spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations/0/rule", `"self.nowhere == 1"`, "undefined field 'nowhere'"},
		{"CustomResourceDefinition/certificates.certs.example.io", "metadata/name", `"certs.certs.example.io"`, "must be spec.names.plural+\".\"+spec.group"},
		{"ValidatingWebhookConfiguration/cert-manager-webhook", "webhooks/0/sideEffects", `"Some"`, `webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"`},
		{"ValidatingWebhookConfiguration/cert-manager-webhook", "webhooks/0/timeoutSeconds", `31`, "the timeout value must be between 1 and 30 seconds"},
		{"ValidatingWebhookConfiguration/cert-manager-webhook", "webhooks/0/name", `"short"`, "should be a domain with at least three segments separated by dots"},
		{"Job/startupapicheck", "spec/template/spec/restartPolicy", `"Always"`, `spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"`},
	},
	"redis": {
		{"StatefulSet/redis", "spec/podManagementPolicy", `"Sometimes"`, `spec.podManagementPolicy: Invalid value: "Sometimes": must be 'OrderedReady' or 'Parallel'`},
		{"StatefulSet/redis", "spec/volumeClaimTemplates/0/spec/resources/requests/storage", `"16Gi"`, "spec.volumeClaimTemplates: Invalid value: "},
		{"StatefulSet/redis", "spec/template/spec/securityContext/sysctls/0/name", `"net..x"`, "must have at most"},
		{"StatefulSet/redis", "spec/template/spec/containers/0/resources/requests/cpu", `"1"`, "must be less than or equal to cpu limit of 150m"},
		{"StatefulSet/redis", "spec/template/spec/containers/0/securityContext/seccompProfile/type", `"runtimeDefault"`, `seccompProfile.type: Unsupported value: "runtimeDefault"`},
		{"Secret/redis", "data/redis-password", `"b3RoZXI="`, "field is immutable when `immutable` is set"},
		{"ConfigMap/redis-configuration", "data/salt", `"x"`, "duplicate of key present in binaryData"},
		{"PodDisruptionBudget/redis", "spec/maxUnavailable", `"134%"`, "must not be greater than 100%"},
		{"Service/redis-headless", "spec/clusterIP", `"10.96.0.77"`, "may not change once set"},
	},
	"longhorn": {
		{"PriorityClass/longhorn-critical", "value", `5`, "value: Forbidden: may not be changed in an update."},
		{"CSIDriver/driver.storage.example.io", "spec/volumeLifecycleModes/0", `"Forever"`, `Unsupported value: "Forever"`},
		{"StorageClass/longhorn", "reclaimPolicy", `"Keep"`, `reclaimPolicy: Unsupported value: "Keep"`},
		{"StorageClass/longhorn", "provisioner", `"no such/x/y"`, "provisioner: "},
		{"DaemonSet/longhorn-manager", "spec/template/spec/containers/0/volumeMounts/1/mountPropagation", `"Twoway"`, `mountPropagation: Unsupported value: "Twoway"`},
		{"DaemonSet/longhorn-manager", "spec/template/spec/containers/0/securityContext/procMount", `"unmasked"`, "Unsupported value: \"unmasked\""},
		{"DaemonSet/longhorn-manager", "spec/template/spec/containers/0/ports/1/hostPort", `70000`, "must be between 1 and 65535, inclusive"},
		{"CronJob/snapshots", "spec/schedule", `"0 3 * *"`, "spec.schedule: Invalid value: \"0 3 * *\": expected exactly 5 fields, found 4"},
		{"CronJob/snapshots", "spec/timeZone", `"Mars/Base"`, "unknown time zone Mars/Base"},
		{"Volume/pvc-1", "spec/numberOfReplicas", `21`, "should be less than or equal to 20"},
	},
	"argo-cd": {
		{"Application/shop", "spec/source/helm/parameters/0/forceString", `"yes"`, "parameters[0].forceString: expected boolean, got"},
		{"Application/shop", "spec/destination", `null`, "spec.destination in body must be of type object"},
		{"ClusterRole/argocd-application-controller", "rules/1/resources", `["pods"]`, "rules cannot apply to both regular resources and non-resource URLs"},
		{"ClusterRoleBinding/argocd-application-controller", "subjects/1/kind", `"Robot"`, `subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"`},
		{"StatefulSet/argocd-application-controller", "spec/template/spec/volumes/1/projected/sources/1/serviceAccountToken/expirationSeconds", `60`, "may not specify a duration less than 10 minutes"},
		{"StatefulSet/argocd-application-controller", "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/topologyKey", `""`, "topologyKey: Required value: can not be empty"},
		{"StatefulSet/argocd-application-controller", "spec/template/spec/containers/0/env/0/valueFrom/fieldRef", `{"fieldPath": "metadata.name"}`, "may not have more than one field specified at a time"},
		{"Secret/argocd-secret", "type", `"kubernetes.io/tls"`, "type: Invalid value: \"kubernetes.io/tls\": field is immutable"},
	},
	"prometheus-operator": {
		{"ServiceMonitor/shop", "spec/endpoints/0/interval", `"often"`, "spec.endpoints[0].interval in body should match '^(0|"},
		{"ServiceMonitor/shop", "spec/endpoints/1/scheme", `"ftp"`, `spec.endpoints[1].scheme: Unsupported value: "ftp": supported values: "http", "https"`},
		{"ServiceMonitor/shop", "spec/scrapeClass", `""`, "spec.scrapeClass in body should be at least 1 chars long"},
		{"MutatingWebhookConfiguration/prometheus-operator-admission", "webhooks/0/reinvocationPolicy", `"Always"`, `webhooks[0].reinvocationPolicy: Unsupported value: "Always": supported values: "IfNeeded", "Never"`},
		{"MutatingWebhookConfiguration/prometheus-operator-admission", "webhooks/0/matchConditions/0/expression", `"request.nothing =="`, "webhooks[0].matchConditions[0].expression: Invalid value: "},
		{"MutatingWebhookConfiguration/prometheus-operator-admission", "webhooks/0/rules/0/scope", `"Everywhere"`, `scope: Unsupported value: "Everywhere"`},
		{"DaemonSet/node-exporter", "spec/updateStrategy/rollingUpdate/maxUnavailable", `0`, "cannot be 0 when maxSurge is 0"},
		{"DaemonSet/node-exporter", "spec/template/spec/containers/0/ports/0/hostPort", `9101`, "must match `containerPort` when `hostNetwork` is true"},
		{"DaemonSet/node-exporter", "spec/template/spec/volumes/0/hostPath/type", `"Folder"`, `hostPath.type: Unsupported value: "Folder"`},
		{"DaemonSet/node-exporter", "spec/template/spec/tolerations/0/effect", `"Never"`, `effect: Unsupported value: "Never"`},
	},
	"traefik": {
		{"Middleware/limit", "spec/headers", `{"stsSeconds": 1}`, "spec: Too many: 2: must have at most 1 item"},
		{"Middleware/limit", "spec", `{"ipAllowList": {"sourceRange": ["everyone"]}}`, "spec.ipAllowList.sourceRange[0] in body must be of type cidr"},
		{"IngressClass/traefik", "spec/controller", `"other.example.io/x"`, "spec.controller: Invalid value: \"other.example.io/x\": field is immutable"},
		{"Service/traefik", "spec/loadBalancerSourceRanges/0", `"192.0.2.0"`, "spec.LoadBalancerSourceRanges[0]: Invalid value: \"192.0.2.0\""},
		{"Service/traefik", "spec/ports/2/name", `"web"`, "spec.ports[2].name: Duplicate value: \"web\""},
		{"Service/traefik", "spec/type", `"ExternalName"`, "spec.externalName: "},
		{"Deployment/traefik", "spec/progressDeadlineSeconds", `5`, "must be greater than minReadySeconds"},
		{"Deployment/traefik", "spec/strategy/rollingUpdate/maxSurge", `0`, "may not be 0 when `maxSurge` is 0"},
		{"PersistentVolumeClaim/traefik", "spec/accessModes/0", `"ReadWriteNever"`, `spec.accessModes: Unsupported value: "ReadWriteNever"`},
	},
	"ingress-nginx": {
		{"Ingress/demo", "metadata/labels", `{"nginx.example.io/validate": "true"}`, `failed calling webhook "validate.nginx.example.io"`},
		{"Ingress/demo", "spec/rules/0/http/paths/0/path", `"api"`, "must be an absolute path"},
		{"Ingress/demo", "spec/rules/0/host", `"a.*.example.com"`, "spec.rules[0].host: Invalid value: \"a.*.example.com\""},
		{"Ingress/demo", "spec/defaultBackend/service/port/name", `"http"`, "cannot set both port name & port number"},
		{"IngressClass/nginx", "spec/parameters/scope", `"Cluster"`, "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"},
		{"Service/ingress-nginx-controller", "spec/ports/0/nodePort", `80`, "provided port is not in the valid range. The range of valid ports is 30000-32767"},
		{"Service/ingress-nginx-controller", "spec/ipFamilies/0", `"IPv5"`, "spec.ipFamilies[0]: "},
		{"Job/ingress-nginx-admission-create", "spec/completions", `2`, "spec.completions: Invalid value: 2: field is immutable"},
		{"Job/ingress-nginx-admission-create", "spec/parallelism", `-1`, "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"},
		{"ValidatingWebhookConfiguration/ingress-nginx-admission", "webhooks/0/clientConfig/url", `"https://x.example"`, "exactly one of url or service is required"},
		{"Deployment/ingress-nginx-controller", "spec/template/spec/dnsPolicy", `"None"`, "must provide `dnsConfig` when `dnsPolicy` is None"},
	},
	"postgresql": {
		{"Secret/pull", "data/.dockerconfigjson", `"bm8="`, "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\""},
		{"StatefulSet/postgresql", "spec/ordinals/start", `-1`, "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"},
		{"StatefulSet/postgresql", "spec/template/spec/hostAliases/0/ip", `"nowhere"`, "spec.template.spec.hostAliases[0].ip: Invalid value: \"nowhere\": must be a valid IP address"},
		{"CronJob/pgdumpall", "spec/jobTemplate/spec/completionMode", `"Sorted"`, `completionMode: Unsupported value: "Sorted"`},
	},
	"istio": {
		{"VirtualService/shop", "spec/http/0/timeout", `"0s"`, "must be a valid duration greater than 1ms"},
		{"VirtualService/shop", "spec/http/0/match/0/uri/exact", `"/"`, "must validate one and only one schema (oneOf)"},
		{"ValidatingAdmissionPolicy/stable-channel-policy.mesh.example.io", "spec/validations/0/expression", `"object."`, "spec.validations[0].expression: Invalid value: "},
		{"ValidatingAdmissionPolicyBinding/stable-channel-policy-binding.mesh.example.io", "spec/validationActions", `["Deny", "Warn"]`, "must not contain both Deny and Warn"},
	},
	"kyverno": {
		{"ClusterPolicy/require-labels", "spec/validationFailureAction", `"Log"`, `spec.validationFailureAction: Unsupported value: "Log": supported values: "Audit", "Enforce"`},
		{"ValidatingWebhookConfiguration/kyverno-resource", "webhooks/0/clientConfig/url", `"http://kyverno.example.com"`, "'https' is the only allowed URL scheme"},
		{"Job/kyverno-clean", "spec/backoffLimit", `-1`, "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"},
	},
	"external-dns": {
		{"DNSEndpoint/shop", "spec/endpoints/0/recordTTL", `"long"`, "expected numeric"},
		{"Secret/external-dns-token", "metadata/annotations", `{}`, "metadata.annotations[kubernetes.io/service-account.name]: Required value"},
		{"Deployment/external-dns", "spec/strategy/rollingUpdate", `{"maxSurge": 1}`, "may not be specified when strategy `type` is 'Recreate'"},
	},
	"sealed-secrets": {
		{"SealedSecret/shop", "spec/template/immutable", `"yes"`, "expected boolean"},
		{"RoleBinding/sealed-secrets-service-proxier", "subjects/0/apiGroup", `"v1"`, `subjects[0].apiGroup: Unsupported value: "v1"`},
		{"Deployment/sealed-secrets", "spec/template/spec/containers/0/livenessProbe/exec", `{"command": ["true"]}`, "may not specify more than 1 handler type"},
	},
	"keda": {
		{"ScaledObject/worker", "spec/triggers", `[]`, "spec.triggers in body should have at least 1 items"},
		{"FlowSchema/keda", "spec/matchingPrecedence", `10001`, "spec.matchingPrecedence: Invalid value: 10001"},
		{"PriorityLevelConfiguration/keda", "spec/limited/limitResponse/queuing/handSize", `17`, "limitResponse.queuing.handSize: Invalid value: 17"},
	},
	"velero": {
		{"LimitRange/defaults", "spec/limits/0/defaultRequest/cpu", `"3"`, "spec.limits[0].defaultRequest[cpu]: Invalid value: "},
		{"ResourceQuota/critical-pods", "spec/hard/pods", `"-1"`, "must be greater than or equal to 0"},
		{"Schedule/daily", "spec/template/labelSelector", `"x"`, "spec.template.labelSelector: expected map"},
	},
	"loki": {
		{"StatefulSet/loki-write", "spec/template/spec/topologySpreadConstraints/0/maxSkew", `0`, "maxSkew: Invalid value: 0: must be greater than zero"},
		{"StatefulSet/loki-write", "spec/template/spec/topologySpreadConstraints/0/whenUnsatisfiable", `"Maybe"`, `whenUnsatisfiable: Unsupported value: "Maybe"`},
		{"DaemonSet/loki-canary", "spec/template/spec/containers/0/env/1/valueFrom/fieldRef/fieldPath", `"status.nothing"`, "status.nothing"},
	},
	"grafana": {
		{"Service/grafana-alias", "spec/externalName", `"not a name"`, "spec.externalName: Invalid value: \"not a name\""},
		{"Deployment/grafana", "spec/template/spec/containers/1/name", `"sidecar"`, "duplicate entries for key"},
		{"Pod/grafana-test", "spec/restartPolicy", `"Sometimes"`, `Unsupported value: "Sometimes"`},
	},
	"rabbitmq": {
		{"RabbitmqCluster/shop", "spec/persistence", `{"storage": "much"}`, "spec.persistence.storage in body should match"},
		{"Service/rabbitmq", "spec/trafficDistribution", `"Near"`, `spec.trafficDistribution: Unsupported value: "Near"`},
		{"Lease/rabbitmq-operator-leader", "spec/leaseDurationSeconds", `0`, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"},
	},
	"strimzi": {
		{"KafkaNodePool/broker", "spec/storage/type", `"ephemeral"`, "the type of storage stays"},
		{"RuntimeClass/kafka-sandbox", "handler", `"runsc"`, "field is immutable"},
		{"PriorityClass/kafka", "preemptionPolicy", `"Sometimes"`, "preemptionPolicy: "},
		{"ResourceQuota/best-effort", "spec/hard/requests.cpu", `"1"`, "unsupported scope applied to resource"},
	},
}

// refusedHere are the fields of such charts that Kubernetes takes and this server refuses: docs/pods.md says why. A row that is taken
// fails TestBundles.
var refusedHere = map[string][]variant{
	"longhorn": {
		{"DaemonSet/longhorn-manager", "spec/template/spec/containers/0/volumeMounts/1/mountPropagation", `"Bidirectional"`, "only None and HostToContainer may be set"},
	},
}
