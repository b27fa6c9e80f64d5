package registry

import (
	"context"
	"net/netip"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api/kinds"
)

// Config is what the registry needs to serve its resources.
type Config struct {
	RESTOptions  generic.RESTOptionsGetter // where objects are stored
	Unwatched    generic.RESTOptionsGetter // the same without a watch cache, for objects that are many and rarely read
	PodCIDRs     []netip.Prefix            // addresses of pods
	ServiceCIDRs []netip.Prefix            // addresses of Services, a range of each family, the default first
	NodePorts    alloc.PortRange           // node ports of Services, by default 30000-32767

	// ClusterDomain is the DNS zone of the cluster, for example cluster.local.
	ClusterDomain string

	// AllowExternalIPs lets Services name externalIPs. It is off by default: whoever may create a Service could
	// otherwise attract the traffic of any address (CVE-2020-8554).
	AllowExternalIPs bool

	// Authorizer says who may do what, where a kind's rules depend on it: who may grant what they do not have themselves, and who
	// may sign what; nil: only members of system:masters.
	Authorizer authorizer.Authorizer
	// ResourceOf says which resource a kind is that a policy names for its parameters.
	ResourceOf func(schema.GroupVersionKind) (schema.GroupVersionResource, error)

	// PortClaims are the node ports that are taken, in etcd.
	PortClaims PortClaims

	// Acknowledged is told of every write; nil: nobody wants to know.
	Acknowledged *Acknowledged
}

// Groups builds the storage of every resource and returns it as API groups to install, core first. Nothing is read
// from etcd before the first request. It fails when a range of the configuration is unusable.
func Groups(_ context.Context, cfg Config) ([]*genericapiserver.APIGroupInfo, error) {
	numbers, err := newNumbers(cfg.ServiceCIDRs, cfg.NodePorts)
	if err != nil {
		return nil, err
	}
	if cfg.Acknowledged == nil {
		cfg.Acknowledged = &Acknowledged{}
	}
	b := &builder{config: cfg, numbers: numbers}
	b.budgets = build(b, podDisruptionBudgets()) // evictions of pods ask them
	core := b.core()
	events := map[string]rest.Storage{"events": core["events"]}
	groups := []*genericapiserver.APIGroupInfo{
		groupInfo(corev1.GroupName, core),
		groupInfo(appsv1.GroupName, b.apps()),
		groupInfo(discoveryv1.GroupName, b.discovery()),
		groupInfo(coordinationv1.GroupName, b.coordination()),
		groupInfo(eventsv1.GroupName, events),
		groupInfo(networkingv1.GroupName, b.networking()),
		groupInfo(policyv1.GroupName, b.policy()),
		groupInfo(autoscalingv2.GroupName, b.autoscaling(), "v1", "v2"),
		groupInfo(resourcev1.GroupName, b.devices()),
		groupInfo(migrationv1.GroupName, b.migrations()),
		groupInfo(rbacv1.GroupName, b.rbac()),
		groupInfo(certificatesv1.GroupName, b.certificates()),
		groupInfo(storagev1.GroupName, b.storage()),
		groupInfo(batchv1.GroupName, b.batch()),
		groupInfo(schedulingv1.GroupName, b.scheduling()),
		groupInfo(nodev1.GroupName, b.node()),
		groupInfo(admissionregistrationv1.GroupName, b.admissionregistration()),
		groupInfo(flowcontrolv1.GroupName, b.flowControl()),
		groupInfo(apiregistrationv1.GroupName, b.apiRegistration()),
		ownGroupInfo(b.own()),
	}
	return groups, b.err
}

// groupInfo are the resources of a group, in each of the versions that are named, without one in version 1.
func groupInfo(group string, resources map[string]rest.Storage, versions ...string) *genericapiserver.APIGroupInfo {
	if len(versions) == 0 {
		versions = []string{"v1"}
	}
	info := genericapiserver.NewDefaultAPIGroupInfo(group, Scheme, ParameterCodec, Codecs)
	for _, version := range versions {
		info.VersionedResourcesStorageMap[version] = resources
	}
	return &info
}

// ownGroupInfo is groupInfo for kinds that have no form in protobuf.
func ownGroupInfo(resources map[string]rest.Storage) *genericapiserver.APIGroupInfo {
	info := groupInfo(kinds.GroupName, resources)
	info.NegotiatedSerializer = withoutProtobuf{Codecs}
	return info
}

// withoutProtobuf is a choice of the media types that need no generated code for a kind.
type withoutProtobuf struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes is part of runtime.NegotiatedSerializer.
func (w withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(w.NegotiatedSerializer.SupportedMediaTypes()), func(i runtime.SerializerInfo) bool {
		return i.MediaType == runtime.ContentTypeProtobuf
	})
}

// builder builds storages and keeps the first error, so that the tables below read as tables.
type builder struct {
	config  Config
	numbers *numbers
	err     error

	services *serviceStore          // set by core
	pods     *genericregistry.Store // likewise
	budgets  store[*policyv1.PodDisruptionBudget]

	namespaces rest.Getter // set by core
}

func build[T object](b *builder, k *kind[T]) store[T] {
	if b.err != nil {
		return store[T]{}
	}
	options := b.config.RESTOptions
	if k.unwatched && b.config.Unwatched != nil {
		options = b.config.Unwatched
	}
	s, err := newStore(k, options)
	b.err = err
	return s
}

// put adds the resource and, where it has one, its status subresource.
func put[T object](resources map[string]rest.Storage, s store[T]) {
	if s.Store == nil {
		return
	}
	resources[s.kind.plural] = s
	if s.kind.prepareStatus != nil {
		resources[s.kind.plural+"/status"] = s.status()
	}
}

func (b *builder) core() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, configMaps()))
	put(resources, build(b, secrets()))
	put(resources, build(b, serviceAccounts()))
	put(resources, build(b, resourceQuotas()))
	put(resources, build(b, limitRanges()))
	put(resources, build(b, events()))
	put(resources, build(b, nodes()))
	put(resources, build(b, podTemplates()))
	put(resources, build(b, persistentVolumes()))
	put(resources, build(b, persistentVolumeClaims()))
	controllers := build(b, replicationControllers())
	put(resources, controllers)
	resources["replicationcontrollers/scale"] = controllerScale(controllers)
	pods := build(b, pods())
	put(resources, pods)
	if b.err == nil {
		b.pods = pods.Store
		resources["pods/binding"], resources["bindings"] = binding{pods.Store}, legacyBinding{binding{pods.Store}}
		resources["pods/eviction"] = eviction{pods.Store, b.budgets.Store}
		resources["pods/ephemeralcontainers"] = pods.part(podPart(pod.EphemeralContainersStrategy))
		resources["pods/resize"] = pods.part(podPart(pod.ResizeStrategy))
	}
	ends := build(b, endpoints())
	if b.err == nil {
		resources["endpoints"] = endpointsStore{ends}
	}
	if plain := build(b, namespaces()); b.err == nil {
		note(plain, &b.config.Acknowledged.Namespaces)
		resources["namespaces"], resources["namespaces/status"], resources["namespaces/finalize"] = newNamespaceStore(plain)
		resources["componentstatuses"] = newComponentStatuses(plain.Storage.Storage)
		b.namespaces = plain.Store
	}
	if plain := build(b, services(serviceRules{b.config.AllowExternalIPs})); b.err == nil {
		note(plain, &b.config.Acknowledged.Services)
		b.services, resources["services/status"] = newServiceStore(plain, ends.Store, b.numbers)
		b.services.claims = b.config.PortClaims
		resources["services"] = b.services
	}
	return resources
}

func (b *builder) apps() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	deployments := build(b, deployments())
	put(resources, deployments)
	resources["deployments/scale"] = deploymentScale(deployments)
	replicaSets := build(b, replicaSets())
	put(resources, replicaSets)
	resources["replicasets/scale"] = replicaSetScale(replicaSets)
	put(resources, build(b, controllerRevisions()))
	sets := build(b, statefulSets())
	put(resources, sets)
	resources["statefulsets/scale"] = statefulSetScale(sets)
	put(resources, build(b, daemonSets()))
	return resources
}

func (b *builder) discovery() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	plain := build(b, endpointSlices())
	note(plain, &b.config.Acknowledged.EndpointSlices)
	put(resources, plain)
	return resources
}

func (b *builder) networking() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, ingresses()))
	put(resources, build(b, ingressClasses()))
	put(resources, build(b, networkPolicies()))
	cidrs, addresses := build(b, serviceCIDRs(b.config.PodCIDRs, b.config.ServiceCIDRs)), build(b, ipAddresses())
	if b.err == nil {
		cidrs = booked(cidrs, func(below storage.Interface) storage.Interface { return rangeBook{below, b.numbers} })
		addresses = booked(addresses, func(below storage.Interface) storage.Interface { return addressBook{below, b.services} })
		b.services.ranges, b.services.addresses = cidrs.Store, addresses.Store
		put(resources, cidrs)
		put(resources, addresses)
	}
	return resources
}

// own are the kinds of our own group.
func (b *builder) own() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, addressPools(b.config.PodCIDRs, b.config.ServiceCIDRs)))
	put(resources, build(b, bgpPeers()))
	if b.err == nil {
		resources["podpeers"] = podPeers{rest.NewDefaultTableConvertor(schema.GroupResource{Group: kinds.GroupName, Resource: "podpeers"}), b.pods}
	}
	return resources
}

func (b *builder) coordination() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, leases()))
	return resources
}
