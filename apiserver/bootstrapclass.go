package apiserver

import (
	"context"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/localvolume"
)

// annotationGiven on the namespace kube-system says that the cluster has been given its StorageClass: who deletes that, or makes
// another the default one, does so for good.
const annotationGiven = "fairlead.dev/storage-class"

// giveStorageClass makes the StorageClass of directories on nodes, once in the life of a cluster.
func (k keeper) giveStorageClass(ctx context.Context) error {
	spaces, classes := k.client.CoreV1().Namespaces(), k.client.StorageV1().StorageClasses()
	system, err := spaces.Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil || system.Annotations[annotationGiven] != "" {
		return ignoreRace(err, "namespace", metav1.NamespaceSystem)
	}
	all, err := classes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	another := slices.ContainsFunc(all.Items, func(c storagev1.StorageClass) bool { return c.Annotations[localvolume.AnnotationDefault] == "true" })
	if _, err := classes.Create(ctx, localvolume.DefaultClass(!another), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch := []byte(`{"metadata":{"annotations":{"` + annotationGiven + `":"` + localvolume.Class + `"}}}`)
	_, err = spaces.Patch(ctx, metav1.NamespaceSystem, types.MergePatchType, patch, metav1.PatchOptions{})
	return ignoreRace(err, "namespace", metav1.NamespaceSystem)
}
