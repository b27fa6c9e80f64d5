package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func configMaps() *kind[*corev1.ConfigMap] {
	return &kind[*corev1.ConfigMap]{
		plural: "configmaps", singular: "configmap", short: []string{"cm"},
		new:            func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		list:           func() runtime.Object { return &corev1.ConfigMapList{} },
		validate:       validateConfigMap,
		validateUpdate: validateConfigMapUpdate,
		columns: []metav1.TableColumnDefinition{
			name(), column("Data", "string", corev1.ConfigMap{}.SwaggerDoc()["data"]), age(),
		},
		row: func(m *corev1.ConfigMap) []any {
			return []any{m.Name, int64(len(m.Data) + len(m.BinaryData)), since(m.CreationTimestamp)}
		},
	}
}

func validateConfigMap(_ context.Context, m *corev1.ConfigMap) field.ErrorList {
	errs := validateMeta(&m.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	size := 0
	for _, key := range slices.Sorted(maps.Keys(m.Data)) {
		errs = append(errs, invalid(field.NewPath("data").Key(key), key, validation.IsConfigMapKey(key))...)
		if _, twice := m.BinaryData[key]; twice {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(key), key, fmt.Sprintf("duplicate of key present in %s", field.NewPath("binaryData"))))
		}
		size += len(m.Data[key])
	}
	for _, key := range slices.Sorted(maps.Keys(m.BinaryData)) {
		errs = append(errs, invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(m.BinaryData[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(nil, "", corev1.MaxSecretSize))
	}
	return errs
}

func validateConfigMapUpdate(ctx context.Context, m, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	if old.Immutable != nil && *old.Immutable {
		const message = "field is immutable when `immutable` is set"
		if m.Immutable == nil || !*m.Immutable {
			errs = append(errs, field.Forbidden(field.NewPath("immutable"), message))
		}
		if !maps.Equal(m.Data, old.Data) {
			errs = append(errs, field.Forbidden(field.NewPath("data"), message))
		}
		if !maps.EqualFunc(m.BinaryData, old.BinaryData, slices.Equal) {
			errs = append(errs, field.Forbidden(field.NewPath("binaryData"), message))
		}
	}
	return append(errs, validateConfigMap(ctx, m)...)
}
