package api

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// DefaultAccount is the service account of pods that name none; every namespace has one.
	DefaultAccount = "default"
	// RootCA is the ConfigMap that every namespace has, by which its pods know the API server.
	RootCA = "kube-root-ca.crt"
	// RootCAKey is its only key.
	RootCAKey = "ca.crt"
)

// RootCAOf is a namespace's ConfigMap RootCA, given the certificate of the cluster's authority.
func RootCAOf(namespace string, pem []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: RootCA,
			Annotations: map[string]string{"kubernetes.io/description": "The certificate of the cluster's authority: pods know the API server by it at kubernetes.default.svc. It is kept as it is."},
		},
		Data: map[string]string{RootCAKey: string(pem)},
	}
}
