package garbage_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// Objects that own each other in a circle go when one, or each, of them is deleted in the foreground (upstream: "should not be
// blocked by dependency circle"), and nothing keeps the queue busy meanwhile.
func TestCircles(t *testing.T) {
	server, cfg := serve(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	start(t, server, cfg, client)
	for name, circle := range map[string]struct {
		size   int
		delete []int
		policy metav1.DeletionPropagation
		held   bool // a finalizer of somebody else holds one of them
	}{
		"oneself":       {1, []int{0}, metav1.DeletePropagationForeground, false},
		"two":           {2, []int{0}, metav1.DeletePropagationForeground, false},
		"two-both":      {2, []int{0, 1}, metav1.DeletePropagationForeground, false},
		"three":         {3, []int{1}, metav1.DeletePropagationForeground, false},
		"ten-all":       {10, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, metav1.DeletePropagationForeground, false},
		"three-held":    {3, []int{0}, metav1.DeletePropagationForeground, true},
		"three-in-back": {3, []int{0}, metav1.DeletePropagationBackground, false},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, client, name)
			y.circle(circle.size)
			if circle.held {
				y.finalizers("m1", `["example.com/hold"]`)
			}
			for _, i := range circle.delete {
				err := client.CoreV1().ConfigMaps(name).Delete(t.Context(), fmt.Sprint("m", i), metav1.DeleteOptions{PropagationPolicy: &circle.policy})
				if err != nil && !apierrors.IsNotFound(err) {
					t.Fatal(err)
				}
			}
			if circle.held {
				y.deleting("m0", "m1", "m2")
				apitest.QueuesRest(t)
				y.finalizers("m1", `null`)
			}
			y.remain()
		})
	}
	if n := apitest.QueueAdds(t)["garbage"]; n > 2000 {
		t.Errorf("%v times something was put on the queue, want some hundreds", n)
	}
}

func newYard(t *testing.T, client kubernetes.Interface, name string) *yard {
	t.Helper()
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &yard{T: t, client: client, ns: name}
}

// circle makes ConfigMaps m0, m1 and so on, each owned by the one before it, the first by the last.
func (y *yard) circle(size int) {
	y.Helper()
	made := []*corev1.ConfigMap{y.configMap("m0")}
	for i := 1; i < size; i++ {
		made = append(made, y.configMap(fmt.Sprint("m", i), owner("ConfigMap", "v1", made[i-1])))
	}
	patch := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":%q,"uid":%q,"blockOwnerDeletion":true}]}}`,
		made[size-1].Name, made[size-1].UID)
	y.patch("m0", patch)
}

func (y *yard) finalizers(name, json string) {
	y.Helper()
	y.patch(name, `{"metadata":{"finalizers":`+json+`}}`)
}

func (y *yard) patch(name, patch string) {
	y.Helper()
	if _, err := y.client.CoreV1().ConfigMaps(y.ns).Patch(y.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		y.Fatal(err)
	}
}

// deleting waits until ConfigMaps are being deleted.
func (y *yard) deleting(names ...string) {
	y.Helper()
	for _, name := range names {
		apitest.Eventually(y.T, func() string {
			c, err := y.client.CoreV1().ConfigMaps(y.ns).Get(y.Context(), name, metav1.GetOptions{})
			if err != nil || c.DeletionTimestamp == nil {
				return fmt.Sprintf("%s is not being deleted (%v)", name, err)
			}
			return ""
		})
	}
}
