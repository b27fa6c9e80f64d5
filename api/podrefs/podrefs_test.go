package podrefs

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func secretKey(name string) []corev1.EnvVar {
	return []corev1.EnvVar{{Name: "A", Value: "x"}, {Name: "B", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}}
}

func mapKey(name string) []corev1.EnvVar {
	return []corev1.EnvVar{{Name: "C", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}}
}

func TestOf(t *testing.T) {
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	spec := &corev1.PodSpec{
		ImagePullSecrets:    []corev1.LocalObjectReference{local("pull"), local("")},
		InitContainers:      []corev1.Container{{Env: secretKey("init")}, {EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("init-map")}}}}},
		Containers:          []corev1.Container{{Env: mapKey("key-map"), EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("from")}}}}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Env: secretKey("debug")}}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}},
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("volume-map")}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: local("projected")}}, {ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("projected-map")}},
			}}}},
			{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}},
			{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "own", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
		},
	}
	got := Of(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}, Spec: *spec})
	if names := slices.Sorted(maps.Keys(got.Claims)); !slices.Equal(names, []string{"data", "pod-own"}) {
		t.Errorf("claims %v", names)
	}
	if names := slices.Sorted(maps.Keys(got.Secrets)); !slices.Equal(names, []string{"csi", "debug", "from", "init", "projected", "pull", "volume"}) {
		t.Errorf("secrets %v", names)
	}
	if names := slices.Sorted(maps.Keys(got.ConfigMaps)); !slices.Equal(names, []string{"init-map", "key-map", "projected-map", "volume-map"}) {
		t.Errorf("config maps %v", names)
	}
	one := OfContainer(&spec.Containers[0])
	if !one.Secrets["from"] || !one.ConfigMaps["key-map"] || len(one.Secrets)+len(one.ConfigMaps) != 2 {
		t.Errorf("one container: %v", one)
	}
}
