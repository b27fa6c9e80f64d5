package apiserver_test

import (
	"fmt"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestTheStorageClassIsGivenOnce: a cluster begins with it; who deletes it has deleted it.
func TestTheStorageClassIsGivenOnce(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	client := clientOf(t, server.ClientConfig())
	classes := client.StorageV1().StorageClasses()
	var class *storagev1.StorageClass
	apitest.Eventually(t, func() string {
		var err error
		if class, err = classes.Get(t.Context(), "local-path", metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		if system, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{}); err != nil || len(system.Annotations) == 0 {
			return fmt.Sprint("that it was given is not noted yet: ", err)
		}
		return ""
	})
	if class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		t.Errorf("%+v", class)
	}
	if err := classes.Delete(t.Context(), "local-path", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stop()
	server, _ = apitest.Run(t, cfg)
	if _, err := clientOf(t, server.ClientConfig()).StorageV1().StorageClasses().Get(t.Context(), "local-path", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is there again: %v", err)
	}
}
