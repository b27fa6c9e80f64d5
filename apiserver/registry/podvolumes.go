package registry

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateVolumes checks the volumes of a pod and returns their names, for the mounts to refer to.
func validateVolumes(volumes []corev1.Volume, path *field.Path) (map[string]bool, field.ErrorList) {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range volumes {
		v, at := &volumes[i], path.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case names[v.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		default:
			errs = append(errs, validateLabel(at.Child("name"), v.Name)...)
		}
		names[v.Name] = true
		errs = append(errs, validateVolumeSource(&v.VolumeSource, at)...)
	}
	return names, errs
}

func validateVolumeSource(s *corev1.VolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch sources := volumeSources(s); {
	case len(sources) == 0:
		return field.ErrorList{field.Required(path, "must specify a volume type")}
	case len(sources) > 1:
		for _, name := range sources[1:] {
			errs = append(errs, field.Forbidden(path.Child(name), "may not specify more than 1 volume type"))
		}
		return errs
	}
	switch {
	case s.HostPath != nil:
		errs = append(errs, validateHostPath(s.HostPath, path.Child("hostPath"))...)
	case s.Secret != nil:
		if s.Secret.SecretName == "" {
			errs = append(errs, field.Required(path.Child("secret", "secretName"), ""))
		}
		errs = append(errs, validateKeyPaths(s.Secret.Items, path.Child("secret", "items"))...)
		errs = append(errs, validateMode(s.Secret.DefaultMode, path.Child("secret", "defaultMode"))...)
	case s.ConfigMap != nil:
		if s.ConfigMap.Name == "" {
			errs = append(errs, field.Required(path.Child("configMap", "name"), ""))
		}
		errs = append(errs, validateKeyPaths(s.ConfigMap.Items, path.Child("configMap", "items"))...)
		errs = append(errs, validateMode(s.ConfigMap.DefaultMode, path.Child("configMap", "defaultMode"))...)
	case s.PersistentVolumeClaim != nil && s.PersistentVolumeClaim.ClaimName == "":
		errs = append(errs, field.Required(path.Child("persistentVolumeClaim", "claimName"), ""))
	case s.EmptyDir != nil && s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0:
		errs = append(errs, field.Forbidden(path.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity"))
	case s.Projected != nil:
		for i := range s.Projected.Sources {
			errs = append(errs, validateProjection(&s.Projected.Sources[i], path.Child("projected", "sources").Index(i))...)
		}
	}
	return errs
}

// volumeSources are the JSON names of the sources that are set, in the order of the type.
func volumeSources(s *corev1.VolumeSource) []string {
	var set []string
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			set = append(set, name)
		}
	}
	return set
}

func validateHostPath(h *corev1.HostPathVolumeSource, path *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(path.Child("path"), "")}
	}
	if slices.Contains(strings.Split(h.Path, "/"), "..") {
		return field.ErrorList{field.Invalid(path.Child("path"), h.Path, "must not contain '..'")}
	}
	if h.Type == nil {
		return nil
	}
	return oneOf(path.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory,
		corev1.HostPathFileOrCreate, corev1.HostPathFile, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev)
}

func validateKeyPaths(items []corev1.KeyToPath, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		item, at := &items[i], path.Index(i)
		if item.Key == "" {
			errs = append(errs, field.Required(at.Child("key"), ""))
		}
		if item.Path == "" {
			errs = append(errs, field.Required(at.Child("path"), ""))
		}
		errs = append(errs, validateRelativePath(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
	}
	return errs
}

func validateMode(mode *int32, path *field.Path) field.ErrorList {
	if mode != nil && (*mode > 0o777 || *mode < 0) {
		return field.ErrorList{field.Invalid(path, *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
	}
	return nil
}

func validateProjection(p *corev1.VolumeProjection, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case p.Secret != nil && p.Secret.Name == "":
		errs = append(errs, field.Required(path.Child("secret", "name"), ""))
	case p.ConfigMap != nil && p.ConfigMap.Name == "":
		errs = append(errs, field.Required(path.Child("configMap", "name"), ""))
	case p.ServiceAccountToken != nil && p.ServiceAccountToken.Path == "":
		errs = append(errs, field.Required(path.Child("serviceAccountToken", "path"), ""))
	case p.ServiceAccountToken != nil && p.ServiceAccountToken.ExpirationSeconds != nil && *p.ServiceAccountToken.ExpirationSeconds < 600:
		errs = append(errs, field.Invalid(path.Child("serviceAccountToken", "expirationSeconds"), *p.ServiceAccountToken.ExpirationSeconds, "may not specify a duration less than 10 minutes"))
	case p.DownwardAPI != nil:
		for i := range p.DownwardAPI.Items {
			item := &p.DownwardAPI.Items[i]
			if errs = append(errs, validateRelativePath(item.Path, path.Child("downwardAPI", "items").Index(i).Child("path"))...); item.FieldRef == nil && item.ResourceFieldRef == nil {
				errs = append(errs, field.Required(path.Child("downwardAPI", "items").Index(i), "one of fieldRef and resourceFieldRef is required"))
			}
		}
	case len(volumeProjections(p)) == 0:
		errs = append(errs, field.Required(path, "must specify a source"))
	}
	return errs
}

func volumeProjections(p *corev1.VolumeProjection) []string {
	var set []string
	v := reflect.ValueOf(*p)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			set = append(set, v.Type().Field(i).Name)
		}
	}
	return set
}
