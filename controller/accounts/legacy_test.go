package accounts

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// TestFateOfTokens: one that its account lists and nobody has used for a year is marked, and removed a year later; all others stay.
func TestFateOfTokens(t *testing.T) {
	now := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)
	lists := &corev1.ServiceAccount{Secrets: []corev1.ObjectReference{{Name: "s"}}}
	for name, test := range map[string]struct {
		account *corev1.ServiceAccount
		made    string
		labels  map[string]string
		want    fate
	}{
		"asked for by a person":          {&corev1.ServiceAccount{}, "2020-01-01", nil, stays},
		"young":                          {lists, "2029-06-02", nil, stays},
		"never used":                     {lists, "2029-05-31", nil, marked},
		"used within a year":             {lists, "2020-01-01", map[string]string{lastUsed: "2029-06-01"}, stays},
		"not used for a year":            {lists, "2020-01-01", map[string]string{lastUsed: "2029-05-31"}, marked},
		"used on a day of no calendar":   {lists, "2020-01-01", map[string]string{lastUsed: "yesterday"}, stays},
		"marked within a year":           {lists, "2020-01-01", map[string]string{invalidSince: "2029-06-01"}, stays},
		"marked a year ago":              {lists, "2020-01-01", map[string]string{invalidSince: "2029-05-31"}, removed},
		"marked with a word":             {lists, "2020-01-01", map[string]string{invalidSince: "x"}, marked},
		"marked a year ago, but used":    {lists, "2020-01-01", map[string]string{invalidSince: "2029-05-31", lastUsed: "2030-05-31"}, stays},
		"marked and used, both long ago": {lists, "2020-01-01", map[string]string{invalidSince: "2028-05-31", lastUsed: "2027-05-31"}, removed},
	} {
		made, err := time.Parse(time.DateOnly, test.made)
		if err != nil {
			t.Fatal(err)
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: test.labels, CreationTimestamp: metav1.NewTime(made)}}
		if got := fateOf(secret, test.account, now); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestUnusedTokensAreCleaned: marked with the day, removed when that is a year ago, and left while a pod has the Secret mounted.
func TestUnusedTokensAreCleaned(t *testing.T) {
	ctx := t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "robot"}, Secrets: []corev1.ObjectReference{{Name: "s"}}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s", UID: "u", CreationTimestamp: metav1.NewTime(time.Now().Add(-3 * unused))}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}
	client := fake.NewClientset(secret, pod)
	c := &Controller{client: client}
	look := func() *corev1.Secret {
		t.Helper()
		if _, err := c.clean(ctx, account, secret); err != nil {
			t.Fatal(err)
		}
		list, err := client.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 0 {
			return nil
		}
		return &list.Items[0]
	}
	if s := look(); s == nil || s.Labels[invalidSince] != "" {
		t.Errorf("a secret that a pod has mounted: %v", s)
	}
	if err := client.CoreV1().Pods("default").Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := look(); s == nil || s.Labels[invalidSince] != time.Now().UTC().Format(time.DateOnly) {
		t.Fatalf("an unused secret: %v", s)
	}
	secret.Labels = map[string]string{invalidSince: "2001-01-01"}
	patch := []byte(`{"metadata":{"labels":{"` + invalidSince + `":"2001-01-01"}}}`)
	if _, err := client.CoreV1().Secrets("default").Patch(ctx, "s", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := look(); s != nil {
		t.Errorf("marked long ago, and still there: %v", s)
	}
}
