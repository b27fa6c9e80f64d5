package registry

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage"
)

func secrets() *kind[*corev1.Secret] {
	return &kind[*corev1.Secret]{
		plural: "secrets", singular: "secret",
		new:            func() *corev1.Secret { return &corev1.Secret{} },
		list:           func() runtime.Object { return &corev1.SecretList{} },
		prepare:        func(_ context.Context, s *corev1.Secret) { mergeStringData(s) },
		prepareUpdate:  func(_ context.Context, s, old *corev1.Secret) { mergeStringData(s); setDefault(&s.Type, old.Type) },
		validate:       validateSecret,
		validateUpdate: validateSecretUpdate,
		warn:           secretWarnings,
		selectable:     func(s *corev1.Secret, set fields.Set) { set["type"] = string(s.Type) },
		triggers: storage.IndexerFuncs{metav1.ObjectNameField: func(obj runtime.Object) string {
			return obj.(*corev1.Secret).Name // nodes watch single ones
		}},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Type", "string", corev1.Secret{}.SwaggerDoc()["type"]),
			column("Data", "string", corev1.Secret{}.SwaggerDoc()["data"]),
			age(),
		},
		row: func(s *corev1.Secret) []any {
			return []any{s.Name, string(s.Type), int64(len(s.Data)), since(s.CreationTimestamp)}
		},
	}
}

func defaultSecret(s *corev1.Secret) { setDefault(&s.Type, corev1.SecretTypeOpaque) }

// mergeStringData moves stringData, which is for writing only, into data.
func mergeStringData(s *corev1.Secret) {
	for key, value := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
}

func validateSecret(_ context.Context, s *corev1.Secret) field.ErrorList {
	errs := validateMeta(&s.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	path := field.NewPath("data")
	size := 0
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, invalid(path.Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(s.Data[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(path, "", corev1.MaxSecretSize))
	}
	return append(errs, validateSecretType(s, path)...)
}

// validateSecretType checks that a secret of a known type has the entries that make it one.
func validateSecretType(s *corev1.Secret, path *field.Path) field.ErrorList {
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")}
		}
	case corev1.SecretTypeDockercfg:
		return validateRegistries(s, corev1.DockerConfigKey, path)
	case corev1.SecretTypeDockerConfigJson:
		return validateRegistries(s, corev1.DockerConfigJsonKey, path)
	case corev1.SecretTypeTLS:
		return append(requireKey(s, corev1.TLSCertKey, path), requireKey(s, corev1.TLSPrivateKeyKey, path)...)
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(path.Key(corev1.SSHAuthPrivateKey), "")}
		}
	case corev1.SecretTypeBasicAuth: // either may be missing, and both may be empty
		name, password := requireKey(s, corev1.BasicAuthUsernameKey, path), requireKey(s, corev1.BasicAuthPasswordKey, path)
		if len(name) > 0 && len(password) > 0 {
			return append(name, password...)
		}
	}
	return nil
}

func requireKey(s *corev1.Secret, key string, path *field.Path) field.ErrorList {
	if _, ok := s.Data[key]; !ok {
		return field.ErrorList{field.Required(path.Key(key), "")}
	}
	return nil
}

// validateRegistries checks a file of credentials for registries, of which an error shows nothing.
func validateRegistries(s *corev1.Secret, key string, path *field.Path) field.ErrorList {
	if errs := requireKey(s, key, path); len(errs) > 0 {
		return errs
	}
	if err := json.Unmarshal(s.Data[key], &map[string]any{}); err != nil {
		return field.ErrorList{field.Invalid(path.Key(key), "<secret contents redacted>", err.Error())}
	}
	return nil
}

func validateSecretUpdate(ctx context.Context, s, old *corev1.Secret) field.ErrorList {
	errs := unchanged(field.NewPath("type"), s.Type, old.Type)
	if old.Immutable != nil && *old.Immutable {
		const message = "field is immutable when `immutable` is set"
		if s.Immutable == nil || !*s.Immutable {
			errs = append(errs, field.Forbidden(field.NewPath("immutable"), message))
		}
		if !maps.EqualFunc(s.Data, old.Data, slices.Equal) {
			errs = append(errs, field.Forbidden(field.NewPath("data"), message))
		}
	}
	return append(errs, validateSecret(ctx, s)...)
}
