package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func memory() corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}
}

func disk() corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
}

// TestVolumesInVolumes mounts volumes below others that may only be read, whatever their order in the pod, and parts of volumes in
// memory.
func TestVolumesInVolumes(t *testing.T) {
	b := newBench(t)
	words := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "words"}, Data: map[string]string{"k": "v"}}
	if _, err := b.client.CoreV1().ConfigMaps("default").Create(b.ctx, words, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "words"}}}
	group, user := int64(4711), int64(1000)
	p := pod("nested", "wait")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &group, RunAsUser: &user}
	p.Spec.Volumes = []corev1.Volume{{Name: "config", VolumeSource: config}, {Name: "memory", VolumeSource: memory()}, {Name: "disk", VolumeSource: disk()}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: "memory", MountPath: "/config/deep/memory"},
		{Name: "config", MountPath: "/config/deep/memory/again"},
		{Name: "config", MountPath: "/config"},
		{Name: "config", MountPath: "/config/file", SubPath: "k"},
		{Name: "memory", MountPath: "/part", SubPath: "a/b"},
		{Name: "disk", MountPath: "/read", ReadOnly: true},
		{Name: "memory", MountPath: "/read/memory"},
	}
	got := b.create(p)
	b.await("nested", "running", running)
	b.exec("nested", nil, "/app", "write", "/config/deep/memory/x", "one")
	b.exec("nested", nil, "/app", "write", "/part/y", "two")
	for path, want := range map[string]string{
		"/config/k": "v", "/config/file": "v", "/config/deep/memory/again/k": "v", "/read/memory/x": "one", "/config/deep/memory/a/b/y": "two",
	} {
		if text := b.exec("nested", nil, "/app", "cat", path); text != want {
			t.Errorf("%s holds %q, want %q", path, text, want)
		}
	}
	for _, name := range []string{"memory", "disk"} {
		var stat unix.Stat_t
		dir := filepath.Join(b.cfg.Dir, "pods", "default_nested_"+string(got.UID), "volumes", name)
		if err := b.containerd.InMounts(func() error { return unix.Stat(dir, &stat) }); err != nil || int64(stat.Gid) != group || stat.Mode&unix.S_ISGID == 0 {
			t.Errorf("%s: group %d, mode %o, %v", name, stat.Gid, stat.Mode, err)
		}
	}
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "nested", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	b.gone("nested")
}

// TestPartsStayInside: a link that a container puts into a volume does not lead out of it.
func TestPartsStayInside(t *testing.T) {
	b := newBench(t)
	for name, link := range map[string]string{"up": "../../../../../../../../etc", "absolute": "/etc", "dangling": "/nothing/here"} {
		p := pod(name, "wait")
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: disk()}}
		p.Spec.InitContainers = []corev1.Container{{
			Name: "i", Image: appImage, Args: []string{"link", link, "/v/out"}, VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
		}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/out", SubPath: "out"}}
		b.create(p)
		got := b.await(name, "refused", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				p.Status.ContainerStatuses[0].State.Waiting.Reason == "CreateContainerConfigError"
		})
		if m := got.Status.ContainerStatuses[0].State.Waiting.Message; !strings.Contains(m, `failed to prepare subPath for volumeMount "v"`) {
			t.Errorf("%s: %s", name, m)
		}
	}
}

// TestALimitOfAVolumeHolds: of one on disk by the end of the pod, of one in memory by its size.
func TestALimitOfAVolumeHolds(t *testing.T) {
	b := newBench(t)
	p := pod("large", "wait")
	limit := resource.MustParse("64Ki")
	p.Spec.Volumes = []corev1.Volume{{Name: "disk", VolumeSource: disk()}, {Name: "memory", VolumeSource: memory()}}
	p.Spec.Volumes[0].EmptyDir.SizeLimit, p.Spec.Volumes[1].EmptyDir.SizeLimit = &limit, &limit
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "disk", MountPath: "/disk"}, {Name: "memory", MountPath: "/memory"}}
	made := b.create(p)
	b.await("large", "running", running)
	dir := filepath.Join(b.cfg.Dir, "pods", "default_large_"+string(made.UID), "volumes")
	var fs unix.Statfs_t
	if err := b.containerd.InMounts(func() error { return unix.Statfs(filepath.Join(dir, "memory"), &fs) }); err != nil || int64(fs.Blocks)*fs.Bsize != limit.Value() {
		t.Errorf("%d blocks of %d: %v", fs.Blocks, fs.Bsize, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk", "x"), make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	got := b.await("large", "evicted", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if got.Status.Reason != "Evicted" || got.Status.Message != `Usage of EmptyDir volume "disk" exceeds the limit "64Ki". ` {
		t.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
	}
}
