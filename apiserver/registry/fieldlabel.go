package registry

import (
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fieldLabels lists, for each kind that has any, the fields beyond metadata.name and metadata.namespace a field
// selector may name (rule D13 for pods). The kind's own row fills in their values.
func fieldLabels() map[schema.GroupVersionKind][]string {
	core := func(kind string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(kind) }
	return map[schema.GroupVersionKind][]string{
		core("Pod"): {
			"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
			"status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
		},
		core("Event"): {
			"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
			"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
			"reason", "reportingComponent", "source", "type",
		},
		core("Node"):                  {"spec.unschedulable"},
		core("Namespace"):             {"status.phase"},
		core("Service"):               {"spec.clusterIP", "spec.type"},
		core("Secret"):                {"type"},
		core("ReplicationController"): {"status.replicas"},
		core("PersistentVolume"):      {"name"},
		core("PersistentVolumeClaim"): {"name"},
		{Group: "apps", Version: "v1", Kind: "ReplicaSet"}:       {"status.replicas"},
		{Group: "batch", Version: "v1", Kind: "Job"}:             {"status.successful"},
		discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"): nil,

		resourcev1.SchemeGroupVersion.WithKind("ResourceSlice"): {resourcev1.ResourceSliceSelectorNodeName, resourcev1.ResourceSliceSelectorDriver},

		certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"): {"spec.signerName"},
		certificatesv1.SchemeGroupVersion.WithKind("ClusterTrustBundle"):        {"spec.signerName"},
		certificatesv1.SchemeGroupVersion.WithKind("PodCertificateRequest"):     {"spec.signerName", "spec.podName", "spec.nodeName"},
	}
}

func addFieldLabels(s *runtime.Scheme) error {
	for gvk, labels := range fieldLabels() {
		if err := s.AddFieldLabelConversionFunc(gvk, fieldLabelFunc(gvk, labels)); err != nil {
			return err
		}
	}
	return s.AddFieldLabelConversionFunc(eventsv1.SchemeGroupVersion.WithKind("Event"), eventLabel)
}

func fieldLabelFunc(gvk schema.GroupVersionKind, labels []string) runtime.FieldLabelConversionFunc {
	known := map[string]bool{"metadata.name": true, "metadata.namespace": true}
	for _, label := range labels {
		known[label] = true
	}
	return func(label, value string) (string, string, error) {
		// spec.host is what spec.nodeName was called before v1; upstream still translates it.
		if gvk.Kind == "Pod" && label == "spec.host" {
			label = "spec.nodeName"
		}
		if !known[label] {
			return "", "", fmt.Errorf("field label not supported: %s", label)
		}
		return label, value, nil
	}
}

// eventLabel translates the field names of events.k8s.io/v1 to those of the core event that is stored.
func eventLabel(label, value string) (string, string, error) {
	translate := map[string]string{
		"regarding.kind":            "involvedObject.kind",
		"regarding.namespace":       "involvedObject.namespace",
		"regarding.name":            "involvedObject.name",
		"regarding.uid":             "involvedObject.uid",
		"regarding.apiVersion":      "involvedObject.apiVersion",
		"regarding.resourceVersion": "involvedObject.resourceVersion",
		"regarding.fieldPath":       "involvedObject.fieldPath",
		"reportingController":       "reportingComponent",
		"reason":                    "reason",
		"type":                      "type",
		"metadata.name":             "metadata.name",
		"metadata.namespace":        "metadata.namespace",
	}
	name, ok := translate[label]
	if !ok {
		return "", "", fmt.Errorf("field label not supported: %s", label)
	}
	return name, value, nil
}
