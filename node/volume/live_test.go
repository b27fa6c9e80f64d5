package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"fairlead.dev/fairlead/node/spec"
)

// TestRenewal: when four fifths of a token's time are over, and once a day at least.
func TestRenewal(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, test := range []struct{ life, earlier, want time.Duration }{
		{3607 * time.Second, 0, 2885600 * time.Millisecond},
		{3607 * time.Second, 10 * time.Second, 2875600 * time.Millisecond},
		{600 * time.Second, 0, 480 * time.Second},
		{365 * 24 * time.Hour, 0, 24 * time.Hour},
	} {
		if got := renewal(now, now.Add(test.life), test.earlier).Sub(now); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// list follows what a test puts into it.
type list[T any] struct {
	mu      sync.Mutex
	wanted  []types.NamespacedName
	found   map[types.NamespacedName]T
	changed chan struct{}
}

func (l *list[T]) Want(names []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = names
}

func (l *list[T]) Get(name types.NamespacedName) (T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, known := l.found[name]
	return found, known
}

func (l *list[T]) Changed() <-chan struct{} { return l.changed }

func (l *list[T]) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (l *list[T]) put(name string, object T) {
	l.mu.Lock()
	l.found[types.NamespacedName{Namespace: "ns", Name: name}] = object
	l.mu.Unlock()
	l.changed <- struct{}{}
}

// watched is a manager whose ConfigMaps a test changes, and a pod with one, a token and a label.
type watched struct {
	*Manager
	t       *testing.T
	client  *fake.Clientset
	maps    *list[*corev1.ConfigMap]
	pod     *corev1.Pod
	told    chan types.UID
	tokens  int
	refused error
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, client: fake.NewClientset(), maps: &list[*corev1.ConfigMap]{found: map[types.NamespacedName]*corev1.ConfigMap{}, changed: make(chan struct{})}, told: make(chan types.UID, 10)}
	w.client.PrependReactor("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		if w.refused != nil {
			return true, nil, w.refused
		}
		w.tokens++
		return true, &authv1.TokenRequest{Status: authv1.TokenRequestStatus{Token: fmt.Sprint("token ", w.tokens), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}}, nil
	})
	w.Manager = &Manager{Dir: t.TempDir(), Client: w.client, Node: func() spec.Node { return spec.Node{} }, Followed: Followed{
		ConfigMaps: w.maps, Secrets: &list[*corev1.Secret]{found: map[types.NamespacedName]*corev1.Secret{}, changed: make(chan struct{})},
	}}
	w.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Labels: map[string]string{"a": "1"}}}
	w.pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}},
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
	}}}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(uid types.UID) { w.told <- uid }) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// stored has the API hold a version of the ConfigMap.
func (w *watched) stored(version, text string) *corev1.ConfigMap {
	w.t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m", ResourceVersion: version}, Data: map[string]string{"key": text}}
	if err := w.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), m, "ns"); err != nil {
		if err := w.client.Tracker().Add(m); err != nil {
			w.t.Fatal(err)
		}
	}
	return m
}

func (w *watched) reads(file, want string) {
	w.t.Helper()
	if text, err := os.ReadFile(filepath.Join(w.volumeDir(w.pod, "v"), file)); err != nil || string(text) != want {
		w.t.Errorf("%s: %q, %v; want %q", file, text, err, want)
	}
}

func (w *watched) due(want bool) {
	w.t.Helper()
	if due := w.Due(w.t.Context(), w.pod.UID); due.IsZero() || time.Now().After(due) != want {
		w.t.Errorf("due at %s", due)
	}
}

func (w *watched) refresh() {
	w.t.Helper()
	if err := w.Refresh(w.t.Context(), w.pod); err != nil {
		w.t.Error(err)
	}
}

// TestFilesFollowTheirObjects: a changed ConfigMap or label is a reason to look, the same version none; the token stays until its
// time comes, and when no other is to be had.
func TestFilesFollowTheirObjects(t *testing.T) {
	w := newWatched(t)
	first := w.stored("1", "one")
	if err := w.SetUp(t.Context(), w.pod); err != nil {
		t.Fatal(err)
	}
	if len(w.maps.wanted) != 1 || w.maps.wanted[0].Name != "m" {
		t.Errorf("followed: %v", w.maps.wanted)
	}
	w.due(false)
	w.maps.put("m", first)
	w.maps.put("m", w.stored("2", "two"))
	if uid := <-w.told; uid != "u" || len(w.told) > 0 {
		t.Errorf("told of %s, and of %d more", uid, len(w.told))
	}
	w.due(true)
	w.refresh()
	w.reads("key", "two")
	w.reads("token", "token 1")
	w.due(false)
	w.pod.Labels["a"] = "2"
	w.Changed("u")
	w.due(true)
	w.refresh()
	w.reads("labels", `a="2"`)
	// It is gone: what was read last stays, and there is nothing to do.
	if err := w.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("configmaps"), "ns", "m"); err != nil {
		t.Fatal(err)
	}
	w.maps.put("m", nil)
	<-w.told
	w.refresh()
	w.reads("key", "two")
	w.due(false)
	w.maps.put("m", w.stored("3", "three"))
	<-w.told
	for _, token := range w.pods.all["u"].tokens {
		token.renew = time.Now()
	}
	w.refused = errors.New("no")
	if err := w.Refresh(t.Context(), w.pod); err == nil {
		t.Error("no token, and no error")
	}
	w.due(true)
	w.reads("token", "token 1")
	w.refused = nil
	w.refresh()
	w.reads("token", "token 2")
	w.reads("key", "three")
	w.due(false)
	w.Forget("u")
	if due := w.Due(t.Context(), "u"); !due.IsZero() || len(w.maps.wanted) > 0 {
		t.Errorf("forgotten: due %s, followed %v", due, w.maps.wanted)
	}
}
