package node

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api/localvolume"
	directories "fairlead.dev/fairlead/node/localvolume"
)

// claimed makes a claim and a volume on this node at a path, bound to each other as controllers do it.
func (b *bench) claimed(name, path string, mode corev1.PersistentVolumeAccessMode, change func(*corev1.PersistentVolume)) {
	b.t.Helper()
	size, modes := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}, []corev1.PersistentVolumeAccessMode{mode}
	claim, err := b.client.CoreV1().PersistentVolumeClaims("default").Create(b.ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: modes, VolumeName: name, StorageClassName: ptr.To(""), Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: modes, PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
		ClaimRef: &corev1.ObjectReference{Namespace: "default", Name: name, UID: claim.UID}, NodeAffinity: onNode("n1"),
	}}
	if change != nil {
		change(v)
	}
	if _, err := b.client.CoreV1().PersistentVolumes().Create(b.ctx, v, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	claim.Status.Phase = corev1.ClaimBound
	if _, err := b.client.CoreV1().PersistentVolumeClaims("default").UpdateStatus(b.ctx, claim, metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

func onNode(name string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}}}}}
}

// holder is a pod with a claim.
func holder(name, claim string) *corev1.Pod {
	p := pod(name, "wait")
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](0)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}, {Name: "v", MountPath: "/part", SubPath: "a/b"}}
	return p
}

// TestClaims: what pods write into a claim is there for the next one, belongs to its group, and is somebody's as long as the pod is there.
func TestClaims(t *testing.T) {
	b := newBench(t)
	path, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Dir(path)} { // the test's own directory is root's
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	b.claimed("data", path, corev1.ReadWriteOnce, nil)
	p := holder("first", "data")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To[int64](4711), RunAsUser: ptr.To[int64](1000)}
	b.create(p)
	b.await("first", "running", running)
	b.exec("first", nil, "/app", "write", "/v/x", "one")
	b.exec("first", nil, "/app", "write", "/part/y", "two")
	var stat unix.Stat_t
	if err := unix.Lstat(outside, &stat); err != nil || stat.Gid == 4711 {
		t.Errorf("what a link leads to was given away: %+v %v", stat, err)
	}
	if err := unix.Lstat(filepath.Join(path, "x"), &stat); err != nil || stat.Gid != 4711 || stat.Uid != 1000 {
		t.Errorf("%+v %v", stat, err)
	}
	b.stop() // another agent knows who has what, and starts containers again
	b.startAgent()
	b.await("first", "running", running)
	second := holder("second", "data")
	second.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	second.Spec.Containers[0].VolumeMounts = second.Spec.Containers[0].VolumeMounts[:1]
	b.create(second)
	b.await("second", "running", running)
	if text := b.exec("second", nil, "/app", "cat", "/v/a/b/y"); text != "two" {
		t.Errorf("read %q", text)
	}
	for _, name := range []string{"first", "second"} {
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, name, *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
		b.gone(name)
	}
	if text, err := os.ReadFile(filepath.Join(path, "a", "b", "y")); err != nil || string(text) != "two" {
		t.Errorf("after the pods: %q %v", text, err)
	}
}

// TestClaimsThatCannotBeHad: each is told in an event, in kubelet's words, and the pod waits.
func TestClaimsThatCannotBeHad(t *testing.T) {
	b := newBench(t)
	path := t.TempDir()
	b.claimed("gone", "/nothing/here", corev1.ReadWriteOnce, nil)
	b.claimed("elsewhere", path, corev1.ReadWriteOnce, func(v *corev1.PersistentVolume) { v.Spec.NodeAffinity = onNode("n2") })
	b.claimed("other", path, corev1.ReadWriteOnce, func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.UID = "another" })
	b.claimed("network", path, corev1.ReadWriteOnce, func(v *corev1.PersistentVolume) {
		v.Spec.Local, v.Spec.NFS = nil, &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/"}
	})
	b.claimed("alone", path, corev1.ReadWriteOncePod, nil)
	for claim, words := range map[string]string{
		"missing": "not found", "gone": `path "/nothing/here" does not exist`, "elsewhere": "storage node affinity check failed",
		"other": "is not bound to PVC default/other", "network": "this kind of volume is not supported: use local or hostPath",
	} {
		b.create(holder("with-"+claim, claim))
		b.awaitEvent("with-"+claim, words)
	}
	b.create(holder("one", "alone"))
	b.await("one", "running", running)
	b.create(holder("two", "alone"))
	b.awaitEvent("two", "ReadWriteOncePod access mode and is already in use by another pod: default/one")
}

// TestWhatIsLeftOfPods: an agent that ended between the last container of a pod and its files leaves nothing to the next one.
func TestWhatIsLeftOfPods(t *testing.T) {
	b := newBench(t)
	b.stop()
	left := filepath.Join(b.cfg.Dir, "pods", "default_left_0b0f0c9e-3b1c-4d5e-8f00-112233445566")
	if err := os.MkdirAll(filepath.Join(left, "claims"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "claims", "v"), []byte(`{"volume":"data","path":"/"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(directoriesOf(b), "pvc-a.removing")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if all, err := directories.List(directoriesOf(b)); err != nil || len(all) != 0 || localvolume.IsName("pvc-a.removing") {
		t.Errorf("%v %v", all, err)
	}
	b.startAgent()
	b.until("nothing is left", func() bool {
		_, pod := os.Stat(left)
		_, volume := os.Stat(half)
		return os.IsNotExist(pod) && os.IsNotExist(volume)
	})
}

func directoriesOf(b *bench) string { return LocalVolumes(b.cfg.Dir) }

// TestNoDriver: a pod with a volume of a CSI driver is taken, as by every Kubernetes, and told on its node that there is none.
func TestNoDriver(t *testing.T) {
	b := newBench(t)
	p := pod("csi", "wait")
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "disk.example.com"}}}}
	b.create(p)
	b.awaitEvent("csi", "driver name disk.example.com not found in the list of registered CSI drivers")
}
