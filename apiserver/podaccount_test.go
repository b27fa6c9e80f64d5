package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
)

const tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// mounts counts the containers of a pod that have a token.
func mounts(pod *corev1.Pod) int {
	n := 0
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, m := range c.VolumeMounts {
				if m.MountPath == tokenDir && m.ReadOnly && strings.HasPrefix(m.Name, "kube-api-access-") {
					n++
				}
			}
		}
	}
	return n
}

// TestPodsGetTheirAccount: the account, its token in every container, and its credentials, as Kubernetes' admission gives them.
func TestPodsGetTheirAccount(t *testing.T) {
	client := clientOf(t, apitest.Start(t))
	ctx := t.Context()
	for _, namespace := range []string{"a", "b"} {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*corev1.ServiceAccount){
		"plain":  func(a *corev1.ServiceAccount) { a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}} },
		"silent": func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = ptr.To(false) },
		"strict": func(a *corev1.ServiceAccount) {
			a.Annotations, a.Secrets = map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}, []corev1.ObjectReference{{Name: "mine"}}
		},
	} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		change(account)
		if _, err := client.CoreV1().ServiceAccounts("a").Create(ctx, account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	secret := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.ServiceAccountName = "strict"
			p.Spec.Volumes = []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}}}
		}
	}
	mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
	for what, test := range map[string]struct {
		namespace, account, refusal string
		mounts                      int
		change                      func(*corev1.Pod)
	}{
		"no account":                 {"b", "default", "", 3, func(*corev1.Pod) {}},
		"a plain account":            {"a", "plain", "", 3, func(p *corev1.Pod) { p.Spec.ServiceAccountName = "plain" }},
		"the account wants no token": {"a", "silent", "", 0, func(p *corev1.Pod) { p.Spec.ServiceAccountName = "silent" }},
		"the pod wants one nevertheless": {"a", "silent", "", 3, func(p *corev1.Pod) {
			p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "silent", ptr.To(true)
		}},
		"the pod wants none": {"a", "plain", "", 0, func(p *corev1.Pod) {
			p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "plain", ptr.To(false)
		}},
		"a container has something there": {"a", "default", "", 2, func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: tokenDir}}
		}},
		"nobody":                         {"a", "", `error looking up service account a/nobody: serviceaccount "nobody" not found`, 0, func(p *corev1.Pod) { p.Spec.ServiceAccountName = "nobody" }},
		"a Secret that is the account's": {"a", "strict", "", 3, secret("mine")},
		"a Secret that is not":           {"a", "", `volume with secret.secretName="other" is not allowed because service account strict does not reference that secret`, 0, secret("other")},
		"a mirror":                       {"a", "", "", 0, mirror},
		"a mirror with an account": {"a", "", "a mirror pod may not reference service accounts", 0, func(p *corev1.Pod) {
			mirror(p)
			p.Spec.ServiceAccountName = "plain"
		}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: corev1.PodSpec{
			NodeName:       "n1",
			InitContainers: []corev1.Container{{Name: "i", Image: "i"}}, Containers: []corev1.Container{{Name: "c", Image: "i"}, {Name: "d", Image: "i"}},
		}}
		test.change(pod)
		made, err := client.CoreV1().Pods(test.namespace).Create(ctx, pod, metav1.CreateOptions{})
		if test.refusal != "" {
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.refusal) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if made.Spec.ServiceAccountName != test.account || mounts(made) != test.mounts {
			t.Errorf("%s: account %q, a token in %d containers", what, made.Spec.ServiceAccountName, mounts(made))
		}
		if got := len(made.Spec.ImagePullSecrets); got == 1 != (test.account == "plain") {
			t.Errorf("%s: %d credentials for images", what, got)
		}
	}
	// A pod need not wait for the controller that makes them.
	if m, err := client.CoreV1().ConfigMaps("b").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil || m.Data["ca.crt"] == "" {
		t.Errorf("the authority's certificate: %v", err)
	}
}
