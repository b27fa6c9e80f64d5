package registry

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
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
		return validateHostPath(s.HostPath, path.Child("hostPath"))
	case s.Secret != nil:
		return validateKeys(s.Secret.SecretName, s.Secret.Items, s.Secret.DefaultMode, "secretName", path.Child("secret"))
	case s.ConfigMap != nil:
		return validateKeys(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.DefaultMode, "name", path.Child("configMap"))
	case s.DownwardAPI != nil:
		at := path.Child("downwardAPI")
		errs = append(errs, validateMode(s.DownwardAPI.DefaultMode, at.Child("defaultMode"))...)
		for i := range s.DownwardAPI.Items {
			errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[i], at)...)
		}
	case s.EmptyDir != nil:
		errs = append(errs, validateMedium(s.EmptyDir.Medium, path.Child("emptyDir", "medium"))...)
		if s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0 {
			errs = append(errs, field.Forbidden(path.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity"))
		}
	case s.Projected != nil:
		errs = append(errs, validateProjected(s.Projected, path.Child("projected"))...)
	}
	return errs
}

// validateMedium checks where an emptyDir lies. Upstream finds a wrong one on the node only.
func validateMedium(medium corev1.StorageMedium, path *field.Path) field.ErrorList {
	if strings.HasPrefix(string(medium), string(corev1.StorageMediumHugePages)) {
		return nil // told by refuseUndone
	}
	return oneOf(path, medium, corev1.StorageMediumDefault, corev1.StorageMediumMemory)
}

// validateKeys checks a volume of the keys of an object.
func validateKeys(name string, items []corev1.KeyToPath, mode *int32, naming string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(path.Child(naming), ""))
	}
	errs = append(errs, validateMode(mode, path.Child("defaultMode"))...)
	return append(errs, validateKeyPaths(items, path.Child("items"))...)
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
	return oneOf(path.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory,
		corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
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
		errs = append(errs, validateFilePath(item.Path, at.Child("path"))...)
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

// validateFilePath checks the path of a file in a volume that is made from API objects. What begins with two dots is the volume's own.
func validateFilePath(value string, path *field.Path) field.ErrorList {
	errs := validateRelativePath(value, path)
	if strings.HasPrefix(value, "..") && !strings.HasPrefix(value, "../") {
		errs = append(errs, field.Invalid(path, value, "must not start with '..'"))
	}
	return errs
}

func validateDownwardFile(item *corev1.DownwardAPIVolumeFile, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if item.Path == "" {
		errs = append(errs, field.Required(path.Child("path"), ""))
	}
	errs = append(errs, validateFilePath(item.Path, path.Child("path"))...)
	switch {
	case item.FieldRef != nil:
		errs = append(errs, validateFieldRef(item.FieldRef, fileFields, path.Child("fieldRef"))...)
		if item.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case item.ResourceFieldRef == nil:
		errs = append(errs, field.Required(path, "one of fieldRef and resourceFieldRef is required"))
	case item.ResourceFieldRef.ContainerName == "":
		errs = append(errs, field.Required(path.Child("resourceFieldRef", "containerName"), ""))
	default:
		errs = append(errs, validateResourceRef(item.ResourceFieldRef, path.Child("resourceFieldRef"))...)
	}
	return append(errs, validateMode(item.Mode, path.Child("mode"))...)
}

func validateProjected(p *corev1.ProjectedVolumeSource, path *field.Path) field.ErrorList {
	errs := validateMode(p.DefaultMode, path.Child("defaultMode"))
	seen := map[string]bool{}
	once := func(file, value string) {
		if file != "" && seen[file] {
			errs = append(errs, field.Invalid(path, value, "conflicting duplicate paths"))
		}
		seen[file] = true
	}
	for i := range p.Sources {
		s, at := &p.Sources[i], path.Child("sources").Index(i)
		switch n := volumeProjections(s); {
		case n == 0:
			errs = append(errs, field.Required(at, "must specify a source"))
		case n > 1:
			errs = append(errs, field.Forbidden(at, "may not specify more than 1 volume type per source"))
		}
		if s.Secret != nil {
			errs = append(errs, validateKeys(s.Secret.Name, s.Secret.Items, nil, "name", at.Child("secret"))...)
			for _, item := range s.Secret.Items {
				once(item.Path, s.Secret.Name)
			}
		}
		if s.ConfigMap != nil {
			errs = append(errs, validateKeys(s.ConfigMap.Name, s.ConfigMap.Items, nil, "name", at.Child("configMap"))...)
			for _, item := range s.ConfigMap.Items {
				once(item.Path, s.ConfigMap.Name)
			}
		}
		if s.DownwardAPI != nil {
			for j := range s.DownwardAPI.Items {
				errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[j], at.Child("downwardAPI"))...)
				once(s.DownwardAPI.Items[j].Path, s.DownwardAPI.Items[j].Path)
			}
		}
		if s.ServiceAccountToken != nil {
			errs = append(errs, validateToken(s.ServiceAccountToken, path, at.Child("serviceAccountToken"))...)
		}
	}
	return errs
}

// validateToken checks the source of a token; upstream names its path by the volume.
func validateToken(token *corev1.ServiceAccountTokenProjection, volume, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch seconds := ptr.Deref(token.ExpirationSeconds, 3600); {
	case seconds < 600:
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
	case seconds > 1<<32:
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	if token.Path == "" {
		return append(errs, field.Required(volume.Child("path"), ""))
	}
	return append(errs, validateFilePath(token.Path, volume.Child("path"))...)
}

// volumeProjections counts the sources that are set.
func volumeProjections(p *corev1.VolumeProjection) int {
	n, v := 0, reflect.ValueOf(*p)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			n++
		}
	}
	return n
}
