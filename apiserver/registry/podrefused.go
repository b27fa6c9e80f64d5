package registry

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// refused are the fields of a pod that nothing here carries out, by their type and Go name, with what is said of them. A field
// that were taken and ignored would run differently from what was asked. A test holds every field of a pod against this table
// and docs/pods.md.
var refused = map[string]refusal{
	"PodSpec.HostUsers":          {"user namespaces are not supported: may only be true", isFalse},
	"PodSpec.ResourceClaims":     {"dynamic resource allocation is not supported", nil},
	"PodSpec.SchedulingGroup":    {"pod groups are not supported", nil},
	"PodSpec.EvictionResponders": {"eviction requests are not supported", nil},

	"PodSecurityContext.WindowsOptions":           {windows, nil},
	"PodSecurityContext.SupplementalGroupsPolicy": {"the container runtime does not support Strict: only Merge may be set", is(corev1.SupplementalGroupsPolicyStrict)},
	"SecurityContext.WindowsOptions":              {windows, nil},
	"PodOS.Name":                                  {"every node of this cluster runs linux", is(corev1.Windows)},

	"Container.VolumeDevices":     {"block devices are not supported", nil},
	"Lifecycle.StopSignal":        {"not supported: set the stop signal in the image", nil},
	"ResourceRequirements.Claims": {"dynamic resource allocation is not supported", nil},
	"HTTPGetAction.Protocol":      {"not supported: probes speak HTTP/1.1", nil},
	"GRPCAction.Mode":             {"not supported: gRPC probes are not encrypted", nil},

	"VolumeMount.RecursiveReadOnly": {"the container runtime does not support recursive read-only mounts", is(corev1.RecursiveReadOnlyEnabled)},
	"VolumeMount.MountPropagation":  {"mounts made in a container stay in the node's own mount namespace: only None and HostToContainer may be set", is(corev1.MountPropagationBidirectional)},
	"VolumeMount.BindMountOptions":  {"not supported", nil},

	"EmptyDirVolumeSource.Medium": {"only Memory may be set: huge pages are not supported", func(v reflect.Value) bool {
		return v.String() != string(corev1.StorageMediumMemory)
	}},
	"EmptyDirVolumeSource.Mode":           {"not supported", nil},
	"SecretVolumeSource.DefaultUser":      {owner, nil},
	"ConfigMapVolumeSource.DefaultUser":   {owner, nil},
	"DownwardAPIVolumeSource.DefaultUser": {owner, nil},
	"ProjectedVolumeSource.DefaultUser":   {owner, nil},
	"KeyToPath.User":                      {owner, nil},
	"DownwardAPIVolumeFile.User":          {owner, nil},
	"ServiceAccountTokenProjection.User":  {owner, nil},
	"ClusterTrustBundleProjection.User":   {owner, nil},
	"PodCertificateProjection.User":       {owner, nil},

	"VolumeSource.GCEPersistentDisk":    {volumeKind, nil},
	"VolumeSource.AWSElasticBlockStore": {volumeKind, nil},
	"VolumeSource.GitRepo":              {volumeKind, nil},
	"VolumeSource.NFS":                  {volumeKind, nil},
	"VolumeSource.ISCSI":                {volumeKind, nil},
	"VolumeSource.Glusterfs":            {volumeKind, nil},
	"VolumeSource.RBD":                  {volumeKind, nil},
	"VolumeSource.FlexVolume":           {volumeKind, nil},
	"VolumeSource.Cinder":               {volumeKind, nil},
	"VolumeSource.CephFS":               {volumeKind, nil},
	"VolumeSource.Flocker":              {volumeKind, nil},
	"VolumeSource.FC":                   {volumeKind, nil},
	"VolumeSource.AzureFile":            {volumeKind, nil},
	"VolumeSource.VsphereVolume":        {volumeKind, nil},
	"VolumeSource.Quobyte":              {volumeKind, nil},
	"VolumeSource.AzureDisk":            {volumeKind, nil},
	"VolumeSource.PhotonPersistentDisk": {volumeKind, nil},
	"VolumeSource.PortworxVolume":       {volumeKind, nil},
	"VolumeSource.ScaleIO":              {volumeKind, nil},
	"VolumeSource.StorageOS":            {volumeKind, nil},
	"VolumeSource.Image":                {volumeKind, nil},
}

// ignored are the fields that many pods have, that may be set and that have no effect yet. Whoever sets one is warned.
var ignored = map[string]string{
	"PodSecurityContext.SELinuxOptions":      "has no effect: nodes do not run with SELinux",
	"PodSecurityContext.SELinuxChangePolicy": "has no effect: nodes do not run with SELinux",
	"SecurityContext.SELinuxOptions":         "has no effect: nodes do not run with SELinux",
}

// ignoredWarnings are about the fields that are set and have no effect.
func ignoredWarnings(spec *corev1.PodSpec, path *field.Path) []string {
	var warnings []string
	eachSetField(spec, path, func(name string, _ reflect.Value, at *field.Path) {
		if why, ok := ignored[name]; ok {
			warnings = append(warnings, at.String()+": "+why)
		}
	})
	return warnings
}

const (
	windows    = "windows options cannot be set for a linux pod"
	owner      = "owners of single files are not supported: use securityContext.fsGroup"
	volumeKind = "this kind of volume is not supported: use persistentVolumeClaim, ephemeral, emptyDir, hostPath, configMap, secret, downwardAPI or projected"
)

// refusal is what is said of a field that is not carried out. A nil test refuses every value.
type refusal struct {
	why  string
	test func(reflect.Value) bool
}

func isFalse(v reflect.Value) bool { return !ptr.Deref(v.Interface().(*bool), true) }

// is tests a field, or what it points to, for one value.
func is[T ~string](value T) func(reflect.Value) bool {
	return func(v reflect.Value) bool { return reflect.Indirect(v).String() == string(value) }
}

// ofPods has the row of a kind that pods are made of, or that is one, refuse what nothing here carries out and warn of what has no
// effect. spec is where the kind has a pod's specification, which path leads to.
func ofPods[T object](k *kind[T], spec func(T) *corev1.PodSpec, path ...string) *kind[T] {
	at := field.NewPath(path[0], path[1:]...)
	return warningToo(refusingToo(k, undone(spec, path...)), func(obj, old T) []string {
		var none T
		if any(old) != any(none) && equality.Semantic.DeepEqual(spec(obj), spec(old)) {
			return nil
		}
		return ignoredWarnings(spec(obj), at)
	})
}

// undone finds the fields of a pod that are set and not carried out. What a stored object has already may stay, so that the rest of
// it can change: it was taken by a version that knew less.
func undone[T object](spec func(T) *corev1.PodSpec, path ...string) func(obj, old T) field.ErrorList {
	at := field.NewPath(path[0], path[1:]...)
	return func(obj, old T) field.ErrorList {
		errs := refuseUndone(spec(obj), at)
		var none T
		if len(errs) == 0 || any(old) == any(none) {
			return errs
		}
		had := map[string]bool{}
		for _, err := range refuseUndone(spec(old), at) {
			had[err.Error()] = true
		}
		return slices.DeleteFunc(errs, func(err *field.Error) bool { return had[err.Error()] })
	}
}

// refuseUndone finds the fields of a pod that are set and not carried out.
func refuseUndone(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	eachSetField(spec, path, func(name string, v reflect.Value, at *field.Path) {
		if r, ok := refused[name]; ok && (r.test == nil || r.test(v)) {
			errs = append(errs, field.Forbidden(at, r.why))
		}
	})
	return append(errs, refuseInContainers(spec, path)...)
}

// eachSetField calls f for every field of a pod's specification that is set and that one of the tables is about, with the field's
// type and name, as in "PodSpec.OS".
func eachSetField(spec *corev1.PodSpec, path *field.Path, f func(name string, v reflect.Value, at *field.Path)) {
	ways().walk(reflect.ValueOf(spec).Elem(), path, f)
}

// way leads from a struct of the API to a field that a table is about, or on to those behind it.
type way struct {
	index  int    // of the field in its struct
	json   string // "" where it is embedded
	name   string // in the tables; "" where they are only about what is behind it
	behind waysOf
}

// waysOf are the ways from a struct.
type waysOf []way

// ways are the ways from the specification of a pod, found once: most fields are in no table, and pods are many.
var ways = sync.OnceValue(func() waysOf { return findWays(reflect.TypeFor[corev1.PodSpec]()) })

func findWays(from reflect.Type) waysOf {
	var found waysOf
	for i := range from.NumField() {
		about := from.Field(i)
		json, _, _ := strings.Cut(about.Tag.Get("json"), ",")
		w := way{index: i, json: json}
		if name := owningType(from) + "." + about.Name; refused[name].why != "" || ignored[name] != "" {
			w.name = name
		}
		behind := about.Type
		for behind.Kind() == reflect.Pointer || behind.Kind() == reflect.Slice {
			behind = behind.Elem()
		}
		if behind.Kind() == reflect.Struct && behind.PkgPath() == apiPackage { // types of other packages, such as quantities, are values
			w.behind = findWays(behind)
		}
		if w.name != "" || len(w.behind) > 0 {
			found = append(found, w)
		}
	}
	return found
}

func (ws waysOf) walk(v reflect.Value, path *field.Path, f func(string, reflect.Value, *field.Path)) {
	for _, w := range ws {
		inner := v.Field(w.index)
		if inner.IsZero() {
			continue
		}
		at := path
		if w.json != "" {
			at = path.Child(w.json)
		}
		if w.name != "" {
			f(w.name, inner, at)
		}
		if len(w.behind) > 0 {
			w.behind.descend(inner, at, f)
		}
	}
}

// descend goes on with the structs behind a field.
func (ws waysOf) descend(v reflect.Value, path *field.Path, f func(string, reflect.Value, *field.Path)) {
	switch v.Kind() {
	case reflect.Pointer:
		ws.descend(v.Elem(), path, f)
	case reflect.Struct:
		ws.walk(v, path, f)
	case reflect.Slice:
		for i := range v.Len() {
			ws.descend(v.Index(i), path.Index(i), f)
		}
	}
}

var apiPackage = reflect.TypeFor[corev1.PodSpec]().PkgPath()

// owningType is the name of a type in the table; the containers that are added to a running pod have the fields of others.
func owningType(t reflect.Type) string {
	if t == reflect.TypeFor[corev1.EphemeralContainerCommon]() {
		return "Container"
	}
	return t.Name()
}
