package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestAVolumeThatBecomesTooLargeIsTold(t *testing.T) {
	mgr := &Manager{Dir: t.TempDir()}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "free", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "bound", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("64Ki"))}}},
	}}}
	if why, err := mgr.TooLarge(pod); why != "" || err != nil || !Limited(pod) {
		t.Errorf("before it is there: %q %v", why, err)
	}
	for _, name := range []string{"free", "bound"} {
		if err := os.MkdirAll(mgr.volumeDir(pod, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(volume, name string, n int) {
		if err := os.WriteFile(filepath.Join(mgr.volumeDir(pod, volume), name), []byte(strings.Repeat("x", n)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("free", "large", 1<<20)
	write("bound", "small", 32<<10)
	dir := mgr.volumeDir(pod, "bound")
	for name, to := range map[string]string{"out": mgr.volumeDir(pod, "free"), "again": dir} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "small"), filepath.Join(dir, "same")); err != nil {
		t.Fatal(err)
	}
	if why, err := mgr.TooLarge(pod); why != "" || err != nil {
		t.Errorf("%q %v", why, err)
	}
	write("bound", "large", 64<<10)
	if why, err := mgr.TooLarge(pod); why != `Usage of EmptyDir volume "bound" exceeds the limit "64Ki". ` || err != nil {
		t.Errorf("%q %v", why, err)
	}
}

func TestMemoryIsNoLargerThanThePodsOrTheNodes(t *testing.T) {
	limited := func(limit string) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
		if limit != "" {
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
		}
		return p
	}
	for _, row := range []struct {
		pod, volume string
		want        int64
	}{{"", "", 1 << 30}, {"100Mi", "", 100 << 20}, {"100Mi", "10Mi", 10 << 20}, {"", "10Gi", 1 << 30}, {"", "0", 1 << 30}} {
		source := &corev1.EmptyDirVolumeSource{}
		if row.volume != "" {
			source.SizeLimit = ptr.To(resource.MustParse(row.volume))
		}
		if got := memorySize(limited(row.pod), source, 1<<30); got != row.want {
			t.Errorf("%+v: %d", row, got)
		}
	}
}
