package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func serviceAccounts() *kind[*corev1.ServiceAccount] {
	return &kind[*corev1.ServiceAccount]{
		plural: "serviceaccounts", singular: "serviceaccount", short: []string{"sa"}, returns: true,
		new:  func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
		list: func() runtime.Object { return &corev1.ServiceAccountList{} },
		validate: func(_ context.Context, a *corev1.ServiceAccount) field.ErrorList {
			return validateMeta(&a.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
		},
		warn: accountWarnings,
		columns: []metav1.TableColumnDefinition{
			name(), column("Secrets", "string", corev1.ServiceAccount{}.SwaggerDoc()["secrets"]), age(),
		},
		row: func(a *corev1.ServiceAccount) []any {
			return []any{a.Name, int64(len(a.Secrets)), since(a.CreationTimestamp)}
		},
	}
}
