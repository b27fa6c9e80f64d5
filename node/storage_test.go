package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// TestStorageIsBounded: who writes more than it may is ended, in kubelet's words; who writes less goes on.
func TestStorageIsBounded(t *testing.T) {
	b := newBench(t)
	fills := func(name, path string, limit, dir string) {
		p := pod(name, "fill", path, "20")
		if limit != "" {
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(limit)}
		}
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		if dir != "" {
			p.Spec.Volumes[0].EmptyDir.SizeLimit = ptr.To(resource.MustParse(dir))
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		b.create(p)
	}
	fills("layer", "/tmp/f", "10Mi", "")
	fills("volume", "/v/f", "10Mi", "")
	fills("modest", "/tmp/f", "1Gi", "1Gi")
	for name, want := range map[string]string{
		"layer":  "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
		"volume": "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
	} {
		p := b.await(name, "is evicted", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		if p.Status.Reason != "Evicted" || p.Status.Message != want {
			t.Errorf("%s: %s, %q, want %q", name, p.Status.Reason, p.Status.Message, want)
		}
		b.awaitEvent(name, "Evicted: "+strings.TrimSpace(want))
	}
	if p := b.get("modest"); p.Status.Phase != corev1.PodRunning {
		t.Errorf("modest: %s", p.Status.Phase)
	}
}
