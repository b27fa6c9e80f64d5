package registry

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"fairlead.dev/fairlead/api/kinds"
)

var (
	// Scheme knows every type the API server speaks: the served kinds, the kinds of their subresources
	// (autoscaling/v1 Scale, policy/v1 Eviction), the review kinds of authentication and authorization, and the
	// metadata types. Kinds carry their defaulting functions.
	Scheme = newScheme()

	// Codecs encodes and decodes the types of Scheme as JSON, YAML and protobuf.
	Codecs = serializer.NewCodecFactory(Scheme)

	// ParameterCodec decodes the query of a request (ListOptions, PodLogOptions and the like).
	ParameterCodec = runtime.NewParameterCodec(Scheme)
)

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, group := range []struct {
		version schema.GroupVersion
		add     func(*runtime.Scheme) error
	}{
		{corev1.SchemeGroupVersion, corev1.AddToScheme},
		{appsv1.SchemeGroupVersion, appsv1.AddToScheme},
		{discoveryv1.SchemeGroupVersion, discoveryv1.AddToScheme},
		{coordinationv1.SchemeGroupVersion, coordinationv1.AddToScheme},
		{resourcev1.SchemeGroupVersion, resourcev1.AddToScheme},
		{migrationv1.SchemeGroupVersion, migrationv1.AddToScheme},
		{networkingv1.SchemeGroupVersion, networkingv1.AddToScheme},
		{policyv1.SchemeGroupVersion, policyv1.AddToScheme},
		{authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme},
		{authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme},
		{batchv1.SchemeGroupVersion, batchv1.AddToScheme},
		{rbacv1.SchemeGroupVersion, rbacv1.AddToScheme},
		{admissionregistrationv1.SchemeGroupVersion, admissionregistrationv1.AddToScheme},
		{certificatesv1.SchemeGroupVersion, certificatesv1.AddToScheme},
		{flowcontrolv1.SchemeGroupVersion, flowcontrolv1.AddToScheme},
		{schedulingv1.SchemeGroupVersion, schedulingv1.AddToScheme},
		{nodev1.SchemeGroupVersion, nodev1.AddToScheme},
		{storagev1.SchemeGroupVersion, storagev1.AddToScheme},
		{apiregistrationv1.SchemeGroupVersion, apiregistrationv1.AddToScheme},
		{metricsv1beta1.SchemeGroupVersion, metricsv1beta1.AddToScheme},
		{kinds.SchemeGroupVersion, kinds.AddToScheme},
	} {
		utilruntime.Must(group.add(s))
		addHub(s, group.version)
		utilruntime.Must(s.SetVersionPriority(group.version))
	}
	utilruntime.Must(addEvents(s))
	utilruntime.Must(addAutoscaling(s))
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	utilruntime.Must(addQueryConversions(s))
	utilruntime.Must(addFieldLabels(s))
	utilruntime.Must(addUpstream(s))
	addDefaults(s)
	return s
}

// addHub registers each kind of gv a second time under the group's internal version, so that the versioned type is
// also what handlers, strategies and storage work on. Options and watch events are per version and stay out.
func addHub(s *runtime.Scheme, gv schema.GroupVersion) {
	hub := schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal}
	for kind := range s.KnownTypes(gv) {
		if strings.HasSuffix(kind, "Options") || kind == metav1.WatchEventKind {
			continue
		}
		obj, err := s.New(gv.WithKind(kind))
		utilruntime.Must(err)
		s.AddKnownTypeWithName(hub.WithKind(kind), obj)
	}
}

// addEvents registers events.k8s.io/v1. Both event APIs share one store of core events (as upstream), so the hub of
// this group is the core type, with a conversion to and from it.
func addEvents(s *runtime.Scheme) error {
	if err := eventsv1.AddToScheme(s); err != nil {
		return err
	}
	hub := schema.GroupVersion{Group: eventsv1.GroupName, Version: runtime.APIVersionInternal}
	s.AddKnownTypeWithName(hub.WithKind("Event"), &corev1.Event{})
	s.AddKnownTypeWithName(hub.WithKind("EventList"), &corev1.EventList{})
	if err := addEventConversions(s); err != nil {
		return err
	}
	return s.SetVersionPriority(eventsv1.SchemeGroupVersion)
}
