package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func fileHas(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s has %q (%v), want %q", path, text, err, want)
	}
}

// nothingOf waits until the node has nothing of a pod any more: containers, files, cgroups.
func (b *bench) nothingOf(t *testing.T, name string) {
	t.Helper()
	b.until("nothing remains of "+name, func() bool {
		files, err := filepath.Glob(b.cfg.Dir + "/pods/default_" + name + "_*")
		return err == nil && len(files) == 0
	})
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + b.containerd.CgroupRoot + "/pod*")
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.client.CoreV1().Pods("default").List(b.ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		known := false
		for _, p := range list.Items {
			known = known || filepath.Base(group) == "pod"+string(p.UID)
		}
		if !known {
			t.Errorf("cgroup remains: %s", group)
		}
	}
}

func TestEnvironmentOfAContainer(t *testing.T) {
	b := newBench(t)
	if _, err := b.client.CoreV1().Services("default").Create(b.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "my-db"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.7.7", Ports: []corev1.ServicePort{{Name: "sql", Port: 3306}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.CoreV1().ConfigMaps("default").Create(b.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "conf"}, Data: map[string]string{"key": "value"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.CoreV1().Secrets("default").Create(b.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "sec"}, Data: map[string][]byte{"token": []byte("s3cret")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	uid := int64(1234)
	p := pod("env", "env", "MY_DB_SERVICE_HOST", "MY_DB_PORT_3306_TCP_ADDR", "KUBERNETES_SERVICE_PORT", "IP", "NODE", "BOTH", "TOKEN")
	p.Spec.Subdomain = "sub"
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"alias"}}}
	p.Spec.Volumes = []corev1.Volume{
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "sec"}, Items: []corev1.KeyToPath{{Key: "token", Path: "deep/token"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	c := &p.Spec.Containers[0]
	c.VolumeMounts = []corev1.VolumeMount{{Name: "all", MountPath: "/all"}, {Name: "scratch", MountPath: "/scratch", SubPath: "a/b"}}
	c.Env = []corev1.EnvVar{
		{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		{Name: "BOTH", Value: "$(NODE)/$(MY_DB_SERVICE_PORT_SQL)/$(NONE)"},
		{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "sec"}, Key: "token"}}},
	}
	b.create(p)
	got := b.await("env", "ready", ready)
	want := "MY_DB_SERVICE_HOST=10.96.7.7\nMY_DB_PORT_3306_TCP_ADDR=10.96.7.7\nKUBERNETES_SERVICE_PORT=443\nIP=" + got.Status.PodIP +
		"\nNODE=n1\nBOTH=n1/3306/$(NONE)\nTOKEN=s3cret\n"
	b.until("the program has printed", func() bool { return strings.Count(b.log("env", corev1.PodLogOptions{}), "\n") == 7 })
	if text := b.log("env", corev1.PodLogOptions{}); text != want {
		t.Errorf("environment\n%swant\n%s", text, want)
	}
	if out := b.exec("env", nil, "/app", "cat", "/all/key", "/all/deep/token", "/all/labels"); out != `values3cretapp="env"` {
		t.Errorf("volumes %q", out)
	}
	b.exec("env", nil, "/app", "write", "/scratch/x", "y")
	if out := b.exec("env", nil, "/app", "id"); out != "1234 0\nenv\n" {
		t.Errorf("id %q", out)
	}
	hosts := b.exec("env", nil, "/app", "cat", "/etc/hosts")
	for _, line := range []string{got.Status.PodIP + "\tenv.sub.default.svc.cluster.local\tenv\n", "1.2.3.4\talias\n"} {
		if !strings.Contains(hosts, line) {
			t.Errorf("hosts lacks %q:\n%s", line, hosts)
		}
	}
	resolv := b.exec("env", nil, "/app", "cat", "/etc/resolv.conf")
	for _, line := range []string{"search default.svc.cluster.local svc.cluster.local cluster.local", "nameserver 10.96.0.10", "options ndots:5"} {
		if !strings.Contains(resolv, line) {
			t.Errorf("resolv.conf lacks %q:\n%s", line, resolv)
		}
	}
}
