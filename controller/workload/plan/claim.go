package plan

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// The kinds that own, as written into owner references.
var (
	ReplicaSetKind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
	DeploymentKind = appsv1.SchemeGroupVersion.WithKind("Deployment")
)

// relation is what a controller does about one object it might own.
type relation int

const (
	ignore  relation = iota // somebody else's, or none of ours
	keep                    // ours and matching
	adopt                   // an orphan that matches
	release                 // ours, no longer matching
)

// claim decides by controller reference (compared by UID) and labels (rule D21).
// An owner that is being deleted, and an object that is being deleted or has
// finished, are never joined anew.
func claim(owner metav1.Object, selector labels.Selector, obj metav1.Object) relation {
	matches := selector.Matches(labels.Set(obj.GetLabels()))
	if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
		switch {
		case ref.UID != owner.GetUID():
			return ignore
		case matches:
			return keep
		case owner.GetDeletionTimestamp() != nil || obj.GetDeletionTimestamp() != nil:
			return ignore
		}
		return release
	}
	if !matches || selector.Empty() || owner.GetDeletionTimestamp() != nil || obj.GetDeletionTimestamp() != nil {
		return ignore
	}
	if p, ok := obj.(*corev1.Pod); ok && api.Finished(p) {
		return ignore
	}
	return adopt
}

// AdoptPatch is the strategic merge patch that makes owner the controller of the
// object uid; the server refuses it for another object of the same name.
func AdoptPatch(owner metav1.Object, kind schema.GroupVersionKind, uid types.UID) []byte {
	return ownerPatch(uid, *metav1.NewControllerRef(owner, kind))
}

// ReleasePatch is the strategic merge patch that removes the owner's reference.
func ReleasePatch(owner, uid types.UID) []byte {
	return ownerPatch(uid, map[string]any{"$patch": "delete", "uid": owner})
}

func ownerPatch(uid types.UID, ref any) []byte {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": uid, "ownerReferences": []any{ref},
	}})
	if err != nil {
		panic(fmt.Sprintf("BUG: owner patch: %v", err)) // maps of strings and a plain struct
	}
	return patch
}
