package registry

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
)

func configMaps() *kind[*corev1.ConfigMap] {
	return adopt(foreign[*corev1.ConfigMap, *core.ConfigMap]{
		strategy: configmap.Strategy,
		in:       convert.Convert_v1_ConfigMap_To_core_ConfigMap, out: convert.Convert_core_ConfigMap_To_v1_ConfigMap,
	}, kind[*corev1.ConfigMap]{
		plural: "configmaps", singular: "configmap", short: []string{"cm"},
		list: func() runtime.Object { return &corev1.ConfigMapList{} },
		triggers: storage.IndexerFuncs{metav1.ObjectNameField: func(obj runtime.Object) string {
			return obj.(*corev1.ConfigMap).Name // nodes watch single ones
		}},
	})
}

func secrets() *kind[*corev1.Secret] {
	return adopt(foreign[*corev1.Secret, *core.Secret]{
		strategy: secret.Strategy,
		in:       convert.Convert_v1_Secret_To_core_Secret, out: convert.Convert_core_Secret_To_v1_Secret,
	}, kind[*corev1.Secret]{
		plural: "secrets", singular: "secret",
		list:       func() runtime.Object { return &corev1.SecretList{} },
		selectable: func(s *corev1.Secret, set fields.Set) { set["type"] = string(s.Type) },
		triggers: storage.IndexerFuncs{metav1.ObjectNameField: func(obj runtime.Object) string {
			return obj.(*corev1.Secret).Name // nodes watch single ones
		}},
	})
}

func serviceAccounts() *kind[*corev1.ServiceAccount] {
	return adopt(foreign[*corev1.ServiceAccount, *core.ServiceAccount]{
		strategy: serviceaccount.Strategy,
		in:       convert.Convert_v1_ServiceAccount_To_core_ServiceAccount, out: convert.Convert_core_ServiceAccount_To_v1_ServiceAccount,
	}, kind[*corev1.ServiceAccount]{
		plural: "serviceaccounts", singular: "serviceaccount", short: []string{"sa"}, returns: true,
		list: func() runtime.Object { return &corev1.ServiceAccountList{} },
	})
}
