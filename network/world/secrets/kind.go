package secrets

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// object is a pointer to a Secret or a ConfigMap.
type object interface {
	comparable
	metav1.Object
}

// kind is how objects of a kind are read.
type kind[T object] struct {
	name  string // for logs
	list  func(ctx context.Context, namespace string, options metav1.ListOptions) (all []T, version string, err error)
	watch func(ctx context.Context, namespace string, options metav1.ListOptions) (watch.Interface, error)
	trim  func(T) T // to what is read here
}

func secretsOf(client kubernetes.Interface) kind[*corev1.Secret] {
	return kind[*corev1.Secret]{
		name: "secret",
		list: func(ctx context.Context, namespace string, options metav1.ListOptions) ([]*corev1.Secret, string, error) {
			list, err := client.CoreV1().Secrets(namespace).List(ctx, options)
			if err != nil {
				return nil, "", err
			}
			return pointers(list.Items), list.ResourceVersion, nil
		},
		watch: func(ctx context.Context, namespace string, options metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().Secrets(namespace).Watch(ctx, options)
		},
		trim: func(s *corev1.Secret) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metaOf(s), Type: s.Type, Data: s.Data}
		},
	}
}

func configMapsOf(client kubernetes.Interface) kind[*corev1.ConfigMap] {
	return kind[*corev1.ConfigMap]{
		name: "configmap",
		list: func(ctx context.Context, namespace string, options metav1.ListOptions) ([]*corev1.ConfigMap, string, error) {
			list, err := client.CoreV1().ConfigMaps(namespace).List(ctx, options)
			if err != nil {
				return nil, "", err
			}
			return pointers(list.Items), list.ResourceVersion, nil
		},
		watch: func(ctx context.Context, namespace string, options metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().ConfigMaps(namespace).Watch(ctx, options)
		},
		trim: func(m *corev1.ConfigMap) *corev1.ConfigMap {
			return &corev1.ConfigMap{ObjectMeta: metaOf(m), Data: m.Data, BinaryData: m.BinaryData}
		},
	}
}

func pointers[O any](items []O) []*O {
	all := make([]*O, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}

// metaOf is what is read here of an object's metadata.
func metaOf(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}

func same[T object](a, b T) bool {
	var none T
	return a == b || a != none && b != none && a.GetUID() == b.GetUID() && a.GetResourceVersion() == b.GetResourceVersion()
}
