package admission

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	core "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/approval"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/ctbattest"
	"k8s.io/kubernetes/plugin/pkg/admission/certificates/signing"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
	"k8s.io/kubernetes/plugin/pkg/admission/nodedeclaredfeatures"
	"k8s.io/kubernetes/plugin/pkg/admission/nodetaint"
	"k8s.io/kubernetes/plugin/pkg/admission/podresize"
	"k8s.io/kubernetes/plugin/pkg/admission/priority"
	"k8s.io/kubernetes/plugin/pkg/admission/runtimeclass"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/persistentvolume/resize"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/storageclass/setdefault"
	inuse "k8s.io/kubernetes/plugin/pkg/admission/storage/storageobjectinuseprotection"
)

// Names of the plugins that this server has its own of.
const (
	NamespaceLifecycle            = "NamespaceLifecycle"
	ServiceAccount                = "ServiceAccount"
	NodeRestriction               = "NodeRestriction"
	CertificateSubjectRestriction = "CertificateSubjectRestriction"
	DefaultIngressClass           = "DefaultIngressClass"
	PodTopologyLabels             = "PodTopologyLabels"
)

// plugin is one row of the chain.
type plugin struct {
	name     string
	register func(*admission.Plugins) // upstream's; nil: this server has its own

	// internal are the resources that a plugin handles which works on internal types, as those of k8s.io/kubernetes do; nil: it works
	// on versioned objects.
	internal []schema.GroupResource

	// by are the objects that the plugin decides by, and needs all of: always, or from when it is woken.
	by func(informers.SharedInformerFactory) cache.SharedIndexInformer

	// asleep is the kind that the plugin decides by which is not there until there is one of it; none: it is always there.
	asleep schema.GroupResource

	// when says which requests the plugin decides about, before the first of which it is not there; nil: it is always there.
	when func(admission.Attributes) bool

	// needs is a kind that the plugin is about, without which it is left out; none: it is always there.
	needs schema.GroupResource
}

// table is the chain in upstream's order: k8s.io/kubernetes/pkg/kubeapiserver/options.AllOrderedPlugins, as far as a stock server
// has them on.
func table() []plugin {
	return slices.Concat(ofKinds(), ofRules())
}

// ofKinds are the plugins that know what they are about.
func ofKinds() []plugin {
	return []plugin{
		{name: NamespaceLifecycle},
		{name: limitranger.PluginName, register: limitranger.Register, internal: resources(pods, claims), asleep: limitRanges},
		{name: ServiceAccount, internal: resources(pods)},
		{name: NodeRestriction},
		{name: nodetaint.PluginName, register: nodetaint.Register, internal: resources(nodes)},
		{name: podSecurity},
		{name: priority.PluginName, register: priority.Register, internal: resources(pods, priorityClasses), by: classes},
		{name: defaulttolerationseconds.PluginName, register: defaulttolerationseconds.Register, internal: resources(pods)},
		{name: setdefault.PluginName, register: setdefault.Register, internal: resources(claims), when: ofClaims, by: storage},
		{name: inuse.PluginName, register: inuse.Register, internal: resources(claims, volumes, attributes)},
		{name: resize.PluginName, register: resize.Register, internal: resources(claims), when: ofClaims, by: storage},
		{name: runtimeclass.PluginName, register: runtimeclass.Register, internal: resources(pods), by: runtimes},
		{name: approval.PluginName, register: approval.Register, internal: resources(requests), needs: requests},
		{name: signing.PluginName, register: signing.Register, internal: resources(requests), needs: requests},
		{name: ctbattest.PluginName, register: ctbattest.Register, internal: resources(bundles), needs: bundles},
		{name: CertificateSubjectRestriction},
		{name: DefaultIngressClass},
		{name: PodTopologyLabels},
		{name: nodedeclaredfeatures.PluginName, register: nodedeclaredfeatures.Register, internal: resources(pods), when: otherSpec},
		{name: podresize.PluginName, register: podresize.Register, internal: resources(pods), when: otherSpec},
	}
}

// ofRules are the plugins that users tell what they are about, last and in this order.
func ofRules() []plugin {
	return []plugin{
		{name: mutating.PluginName, register: mutating.Register, asleep: mutatingPolicies},
		{name: mutatingwebhook.PluginName, register: mutatingwebhook.Register, asleep: mutatingWebhooks},
		{name: validating.PluginName, register: validating.Register, asleep: validatingPolicies},
		{name: validatingwebhook.PluginName, register: validatingwebhook.Register, asleep: validatingWebhooks},
		{name: resourcequota.PluginName, register: resourcequota.Register, asleep: quotas},
	}
}

var (
	pods            = schema.GroupResource{Resource: "pods"}
	nodes           = schema.GroupResource{Resource: "nodes"}
	namespaces      = schema.GroupResource{Resource: "namespaces"}
	claims          = schema.GroupResource{Resource: "persistentvolumeclaims"}
	volumes         = schema.GroupResource{Resource: "persistentvolumes"}
	attributes      = schema.GroupResource{Group: "storage.k8s.io", Resource: "volumeattributesclasses"}
	priorityClasses = schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	requests        = schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}
	bundles         = schema.GroupResource{Group: "certificates.k8s.io", Resource: "clustertrustbundles"}
	limitRanges     = schema.GroupResource{Resource: "limitranges"}
	quotas          = schema.GroupResource{Resource: "resourcequotas"}

	// Of policies the bindings are looked at: a policy without one does nothing.
	mutatingPolicies   = schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingadmissionpolicybindings"}
	validatingPolicies = schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicybindings"}
	mutatingWebhooks   = schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}
	validatingWebhooks = schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations"}
)

func resources(of ...schema.GroupResource) []schema.GroupResource { return of }

// otherSpec says whether a request changes what a pod on a node asks for, as its generation tells.
func otherSpec(a admission.Attributes) bool {
	if a.GetOperation() != admission.Update || a.GetSubresource() != "" && a.GetSubresource() != "resize" {
		return false
	}
	pod, ok := a.GetObject().(*core.Pod)
	old, also := a.GetOldObject().(*core.Pod)
	return ok && also && pod.Spec.NodeName != "" && pod.Generation != old.Generation
}

func classes(f informers.SharedInformerFactory) cache.SharedIndexInformer {
	return f.Scheduling().V1().PriorityClasses().Informer()
}

func storage(f informers.SharedInformerFactory) cache.SharedIndexInformer {
	return f.Storage().V1().StorageClasses().Informer()
}

func runtimes(f informers.SharedInformerFactory) cache.SharedIndexInformer {
	return f.Node().V1().RuntimeClasses().Informer()
}

// ofClaims tells whether a request writes a claim.
func ofClaims(a admission.Attributes) bool { return a.GetResource().GroupResource() == claims }
