package api

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// LabelGatewayName is on what is made for a Gateway, whose name it has (Gateway API, GatewayNameLabelKey).
const LabelGatewayName = "gateway.networking.k8s.io/gateway-name"

// AnnotationReads, which a controller of ours writes on the Service of a Gateway, names what nodes have to read to serve it, and
// may: Secrets and ConfigMaps, in words such as secrets/NAMESPACE/NAME.
const AnnotationReads = "fairlead.dev/reads"

// Read is a Secret or ConfigMap that nodes may read.
type Read struct {
	Resource string // secrets or configmaps
	Name     types.NamespacedName
}

// String is RESOURCE/NAMESPACE/NAME.
func (r Read) String() string { return r.Resource + "/" + r.Name.String() }

// FormatReads is the annotation's value.
func FormatReads(all []Read) string {
	words := make([]string, len(all))
	for i, r := range all {
		words[i] = r.String()
	}
	return strings.Join(words, " ")
}

// MayRead reports whether a Service of a Gateway lets nodes read an object.
func MayRead(s *corev1.Service, r Read) bool {
	if s.Labels[LabelGatewayName] == "" || s.Annotations[AnnotationL7] != L7Gateway {
		return false
	}
	for word := range strings.FieldsSeq(s.Annotations[AnnotationReads]) {
		if word == r.String() {
			return true
		}
	}
	return false
}
