// Package localvolume is how the control plane and the agents of nodes talk about the directories that claims of class local-path get
// on nodes, and what objects say of them. It only computes.
package localvolume

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Path is where an agent is told what is to become of a directory, by POST, and asked which it has, by GET.
	Path = "/fairlead/v1/volumes"
	// Class is the name of the StorageClass that every cluster begins with.
	Class = "local-path"
	// Provisioner is who makes volumes of that class.
	Provisioner = "fairlead.dev/local-path"
	// Finalizer keeps a volume until its directory is removed (sig-storage-lib-external-provisioner).
	Finalizer = "external-provisioner.volume.kubernetes.io/finalizer"

	prefix = "pvc-"
)

// Wanted is what is to become of a directory.
type Wanted string

// A directory is there, with all that pods write; or neither it nor that; or, if nobody has written anything, it is not.
const (
	Present Wanted = "present"
	Absent  Wanted = "absent"
	NoWaste Wanted = "absent unless used"
)

// Request says what is to become of the directory of a volume.
type Request struct {
	Volume string `json:"volume"`
	Claim  string `json:"claim,omitempty"` // NAMESPACE/NAME, for people
	Want   Wanted `json:"want"`
}

// Directory is that of a volume on a node.
type Directory struct {
	Volume string `json:"volume"`
	Claim  string `json:"claim"`
	Path   string `json:"path"` // where pods write
}

// Reply is what has become of a directory, or which directories a node has.
type Reply struct {
	Directories []Directory `json:"directories,omitempty"` // those that are there
	// Problem is why it has not become what it was to, in words; whoever asks again may get another answer.
	Problem string `json:"problem,omitempty"`
}

// Name is the name of the volume of a claim (upstream: pvc-UID).
func Name(claim *corev1.PersistentVolumeClaim) string { return prefix + string(claim.UID) }

// IsName says whether a volume may have a directory: a name that is one element of a path, and nothing but itself in it.
func IsName(volume string) bool {
	rest, ok := strings.CutPrefix(volume, prefix)
	return ok && rest != "" && len(volume) <= 63 && !strings.ContainsFunc(rest, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-')
	})
}

// DefaultClass is the StorageClass that a cluster begins with: directories of nodes, made when it is known on which node the first
// pod of the claim runs. It is the default one unless the cluster has another.
func DefaultClass(isDefault bool) *storagev1.StorageClass {
	reclaim, binding, no := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer, false
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: Class}, Provisioner: Provisioner,
		ReclaimPolicy: &reclaim, VolumeBindingMode: &binding, AllowVolumeExpansion: &no,
	}
	if isDefault {
		class.Annotations = map[string]string{AnnotationDefault: "true"}
	}
	return class
}

// AnnotationDefault marks the StorageClass of claims that name none.
const AnnotationDefault = "storageclass.kubernetes.io/is-default-class"
