package life

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestStorageExceeded: what a pod may write, in kubelet's words.
func TestStorageExceeded(t *testing.T) {
	limits := func(text string) corev1.ResourceRequirements {
		if text == "" {
			return corev1.ResourceRequirements{}
		}
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(text)}}
	}
	pod := func(a, b string) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Resources: limits(a)}, {Name: "b", Resources: limits(b)}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}}}
		return p
	}
	used := func(a, b, v int64) Stored {
		return Stored{Containers: map[string]int64{"a": a << 20, "b": b << 20}, EmptyDirs: map[string]int64{"v": v << 20}}
	}
	memory := pod("1Mi", "")
	memory.Spec.Volumes[0].EmptyDir.Medium = corev1.StorageMediumMemory
	for _, test := range []struct {
		pod     *corev1.Pod
		used    Stored
		limited bool
		want    string
	}{
		{pod("", ""), used(99, 99, 99), false, ""},
		{memory, used(0, 0, 99), true, ""},
		{pod("10Mi", ""), used(10, 0, 0), true, ""},
		{pod("10Mi", "10Mi"), used(12, 1, 0), true, `Container a exceeded its local ephemeral storage limit "10Mi". `},
		{pod("10Mi", "10Mi"), used(9, 9, 9), true, "Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. "},
	} {
		if got := StorageExceeded(test.pod, test.used); got != test.want || StorageLimited(test.pod) != test.limited {
			t.Errorf("%+v: %q, limited %v, want %q", test.used, got, StorageLimited(test.pod), test.want)
		}
	}
}
