package ingress

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Level says how far something is done as it was written for ingress-nginx, or as the specification of Ingress has it.
type Level uint8

// The levels, the better before the worse.
const (
	Same        Level = iota // done
	Differs                  // done, in another way
	Unsupported              // left out: there is no such thing here
	Wrong                    // a mistake: what it is about is not served, or as if it were not written
)

// String is the level for people.
func (l Level) String() string {
	return [...]string{"same", "differs", "not supported", "wrong"}[l]
}

// The codes of findings, for programs: what one means never changes.
const (
	ClassMissing          = "IngressClassMissing"
	AnnotationDiffers     = "AnnotationDiffers"
	AnnotationUnsupported = "AnnotationNotSupported"
	AnnotationWrong       = "AnnotationInvalid"
	AnnotationUnknown     = "AnnotationUnknown"
	ResourceBackend       = "ResourceBackend"
	ServiceMissing        = "ServiceMissing"
	ServiceExternalName   = "ServiceExternalName"
	PortMissing           = "ServicePortMissing"
	PathWrong             = "PathInvalid"
	PathTaken             = "PathTaken"
	HostTaken             = "HostTaken"
	CertificateTaken      = "CertificateTaken"
	CanaryAlone           = "CanaryAlone"
	ConfigMapMissing      = "ConfigMapMissing"
	ConfigMapWrong        = "ConfigMapInvalid"
	SecretMissing         = "SecretMissing"
	SecretWrong           = "SecretInvalid"
	CertificateExpired    = "CertificateExpired"
	CertificateEarly      = "CertificateNotYetValid"
	CertificateHost       = "CertificateForOtherHosts"
)

// Finding is one thing about an Ingress that people have to know.
type Finding struct {
	Ingress  types.NamespacedName
	Code     string
	Level    Level  // never Same
	Where    string // in the Ingress: an annotation's name without its prefix, or a field as in spec.tls[0]
	Sentence string // what is so, without the full stop
	Remedy   string // what to do, likewise
}

// Message is the finding for people, in one line.
func (f Finding) Message() string { return f.Where + ": " + f.Sentence + ". " + f.Remedy }

// compareFindings orders findings by Ingress, then the worst first, then by place.
func compareFindings(a, b Finding) int {
	return cmp.Or(api.CompareNames(a.Ingress, b.Ingress), -cmp.Compare(a.Level, b.Level), cmp.Compare(a.Where, b.Where),
		cmp.Compare(a.Code, b.Code), cmp.Compare(a.Sentence, b.Sentence))
}
