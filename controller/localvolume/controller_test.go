package localvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/api/localvolume"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/controller/upstream"
	"fairlead.dev/fairlead/internal/apitest"
	directories "fairlead.dev/fairlead/node/localvolume"
)

// cluster is an API server with upstream's binding of volumes and this package's provisioner, over real directories. There is no
// scheduler: the tests say which node is chosen.
type cluster struct {
	*testing.T
	kubernetes.Interface
	server *apiserver.Server
	config apiserver.Config
	nodes  map[string]*directories.Volumes
	dead   atomic.Pointer[string] // a node that does not answer
	stop   func()
}

func start(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, config: apitest.Config(t, t.TempDir()), nodes: map[string]*directories.Volumes{}}
	c.server, _ = apitest.Run(t, c.config)
	c.Interface = kubernetes.NewForConfigOrDie(c.server.ClientConfig())
	for _, name := range []string{"n1", "n2"} {
		c.nodes[name] = &directories.Volumes{Dir: filepath.Join(t.TempDir(), "volumes"), Log: slog.New(slog.DiscardHandler)}
		c.do(c.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}, metav1.CreateOptions{}))
		c.do(c.CoreV1().Nodes().Patch(t.Context(), name, types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status"))
	}
	c.begin()
	return c
}

// begin runs the controllers, until stop or the end of the test.
func (c *cluster) begin() {
	shared := informers.NewSharedInformerFactory(c, 0)
	log := slog.New(slog.DiscardHandler)
	binding := upstream.New(c.server.ClientConfig(), c, shared, c.config.CA, c.server.AwaitFirst, log)
	c.stop = apitest.Control(c.T, shared, binding.Run, New(c, shared, c.server.AwaitFirst, c.ask, log).Run)
}

// ask is a node's agent.
func (c *cluster) ask(_ context.Context, node *corev1.Node, request *localvolume.Request) (reply localvolume.Reply, err error) {
	if dead := c.dead.Load(); dead != nil && *dead == node.Name {
		return reply, errors.New("no answer")
	}
	method, body := http.MethodGet, []byte(nil)
	if request != nil {
		method = http.MethodPost
		if body, err = json.Marshal(request); err != nil {
			return reply, err
		}
	}
	w := httptest.NewRecorder()
	c.nodes[node.Name].ServeHTTP(w, httptest.NewRequest(method, localvolume.Path, bytes.NewReader(body)))
	return reply, json.Unmarshal(w.Body.Bytes(), &reply)
}

func (c *cluster) do(_ any, err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// claim makes a claim of the class that every cluster has, changed as a test wants it.
func (c *cluster) claim(name string, change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c.Helper()
	class := localvolume.Class
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if change != nil {
		change(claim)
	}
	made, err := c.CoreV1().PersistentVolumeClaims("default").Create(c.Context(), claim, metav1.CreateOptions{})
	c.do(made, err)
	return made
}

// choose is what the scheduler says of a claim: the first pod of it is to run on a node.
func (c *cluster) choose(claim, node string) {
	c.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotationNode, node)
	c.do(c.CoreV1().PersistentVolumeClaims("default").Patch(c.Context(), claim, types.MergePatchType, []byte(patch), metav1.PatchOptions{}))
}

// bound waits until a claim has a volume, and returns that.
func (c *cluster) bound(name string) *corev1.PersistentVolume {
	c.Helper()
	var v *corev1.PersistentVolume
	apitest.Eventually(c, func() string {
		claim, err := c.CoreV1().PersistentVolumeClaims("default").Get(c.Context(), name, metav1.GetOptions{})
		if err != nil || claim.Status.Phase != corev1.ClaimBound {
			return fmt.Sprint("not bound: ", claim.Status, err)
		}
		if v, err = c.CoreV1().PersistentVolumes().Get(c.Context(), claim.Spec.VolumeName, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	return v
}

func (c *cluster) drop(claim string) {
	c.Helper()
	c.do(nil, c.CoreV1().PersistentVolumeClaims("default").Delete(c.Context(), claim, metav1.DeleteOptions{}))
}

// has lists what a node has.
func (c *cluster) has(node string) []string {
	c.Helper()
	all, err := directories.List(c.nodes[node].Dir)
	c.do(all, err)
	names := []string{}
	for _, d := range all {
		names = append(names, d.Volume)
	}
	return names
}

// becomes waits until a node has so many directories.
func (c *cluster) becomes(node string, n int) {
	c.Helper()
	apitest.Eventually(c, func() string {
		if has := c.has(node); len(has) != n {
			return fmt.Sprint(node, " has ", has)
		}
		return ""
	})
}

// told waits for an Event of a claim.
func (c *cluster) told(claim, words string) {
	c.Helper()
	apitest.Eventually(c, func() string {
		list, err := c.CoreV1().Events("default").List(c.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + claim})
		if err != nil {
			return err.Error()
		}
		if !slices.ContainsFunc(list.Items, func(e corev1.Event) bool { return strings.Contains(e.Message, words) }) {
			return fmt.Sprint(words, ": not among ", len(list.Items), " events of ", claim)
		}
		return ""
	})
}

func TestAClaimGetsADirectoryOnTheChosenNodeAndLosesItWhenItGoes(t *testing.T) {
	c := start(t)
	c.claim("data", nil)
	c.told("data", "waiting for first consumer to be created before binding")
	if has := append(c.has("n1"), c.has("n2")...); len(has) != 0 {
		t.Fatalf("before a node is chosen there is %v", has)
	}
	c.choose("data", "n2")
	v := c.bound("data")
	if v.Spec.Local.Path != c.nodes["n2"].Path(v.Name) || onHost(v) != "n2" || v.Spec.Capacity.Storage().String() != "1Gi" || v.Spec.StorageClassName != localvolume.Class {
		t.Errorf("%+v", v.Spec)
	}
	if has := c.has("n1"); len(has) != 0 {
		t.Errorf("n1 has %v", has)
	}
	c.do(nil, os.WriteFile(filepath.Join(v.Spec.Local.Path, "file"), nil, 0o600))
	c.drop("data")
	c.becomes("n2", 0)
	apitest.Eventually(t, func() string {
		if _, err := c.CoreV1().PersistentVolumes().Get(t.Context(), v.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprint("the volume: ", err)
		}
		return ""
	})
}

func TestRetainedDataStaysWhenItsVolumeIsDeleted(t *testing.T) {
	c := start(t)
	keep := corev1.PersistentVolumeReclaimRetain
	class := localvolume.DefaultClass(false)
	class.Name, class.ReclaimPolicy = "kept", &keep
	c.do(c.StorageV1().StorageClasses().Create(t.Context(), class, metav1.CreateOptions{}))
	c.claim("data", func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = &class.Name })
	c.choose("data", "n1")
	v := c.bound("data")
	c.drop("data")
	apitest.Eventually(t, func() string {
		now, err := c.CoreV1().PersistentVolumes().Get(t.Context(), v.Name, metav1.GetOptions{})
		if err != nil || now.Status.Phase != corev1.VolumeReleased {
			return fmt.Sprint(now.Status, err)
		}
		return ""
	})
	c.do(nil, os.WriteFile(filepath.Join(v.Spec.Local.Path, "file"), nil, 0o600))
	c.do(nil, c.CoreV1().PersistentVolumes().Delete(t.Context(), v.Name, metav1.DeleteOptions{}))
	apitest.Eventually(t, func() string {
		if _, err := c.CoreV1().PersistentVolumes().Get(t.Context(), v.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprint("the volume: ", err)
		}
		return ""
	})
	c.stop()
	c.begin() // and is not swept away
	c.claim("other", nil)
	c.choose("other", "n1")
	c.bound("other")
	c.becomes("n1", 2)
}

// TestNoDirectoryIsLeft: a node was chosen by somebody that there is not, then one that does not answer; the directory was made and the
// control plane ended before it had written the volume; then the claim goes.
func TestNoDirectoryIsLeft(t *testing.T) {
	c := start(t)
	claim := c.claim("data", nil)
	c.choose("data", "nowhere")
	c.told("data", "node nowhere: there is no such node")
	apitest.Eventually(t, func() string { // the scheduler may choose again
		now, err := c.CoreV1().PersistentVolumeClaims("default").Get(t.Context(), "data", metav1.GetOptions{})
		if err != nil || now.Annotations[annotationNode] != "" {
			return fmt.Sprint(now.Annotations, err)
		}
		return ""
	})
	dead := "n1"
	c.dead.Store(&dead)
	c.choose("data", "n1")
	c.told("data", "no answer")
	c.stop()
	c.dead.Store(nil)
	if _, err := c.ask(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, &localvolume.Request{Volume: localvolume.Name(claim), Want: localvolume.Present}); err != nil {
		t.Fatal(err)
	}
	c.drop("data")
	c.claim("other", nil) // something to be awake for
	c.becomes("n1", 1)
	c.begin()
	c.becomes("n1", 0)
}

func TestAnotherNodeIsLeftWithoutADirectory(t *testing.T) {
	c := start(t)
	blocked := c.nodes["n1"].Dir
	c.do(nil, os.WriteFile(blocked, nil, 0o600)) // no directory can be made there
	c.claim("data", nil)
	c.choose("data", "n1")
	c.told("data", "node n1: the directory cannot be made")
	c.choose("data", "n2")
	if v := c.bound("data"); onHost(v) != "n2" {
		t.Errorf("it is on %s", onHost(v))
	}
}

func TestWhatADirectoryCannotBeIsRefusedInWords(t *testing.T) {
	c := start(t)
	immediate := storagev1.VolumeBindingImmediate
	now := localvolume.DefaultClass(false)
	now.Name, now.VolumeBindingMode = "now", &immediate
	c.do(c.StorageV1().StorageClasses().Create(t.Context(), now, metav1.CreateOptions{}))
	block := corev1.PersistentVolumeBlock
	for name, row := range map[string]struct {
		change func(*corev1.PersistentVolumeClaim)
		words  string
	}{
		"block": {func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeMode = &block }, "block devices are not supported"},
		"many":  {func(p *corev1.PersistentVolumeClaim) { p.Spec.AccessModes[0] = corev1.ReadWriteMany }, "only the access modes ReadWriteOnce and ReadWriteOncePod"},
		"now":   {func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = &now.Name }, "volumeBindingMode must be WaitForFirstConsumer"},
		"selector": {func(p *corev1.PersistentVolumeClaim) {
			p.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, "claim.Spec.Selector is not supported"},
	} {
		c.claim(name, row.change)
		if name != "now" {
			c.choose(name, "n1")
		}
		c.told(name, row.words)
	}
	if has := c.has("n1"); len(has) != 0 {
		t.Errorf("made: %v", has)
	}
}

// TestFates: upstream's table for external provisioners.
func TestFates(t *testing.T) {
	deleted := &metav1.Time{}
	for _, row := range []struct {
		phase   corev1.PersistentVolumePhase
		policy  corev1.PersistentVolumeReclaimPolicy
		deleted *metav1.Time
		want    fate
	}{
		{corev1.VolumeReleased, corev1.PersistentVolumeReclaimDelete, nil, goes},
		{corev1.VolumeReleased, corev1.PersistentVolumeReclaimRetain, nil, stays},
		{corev1.VolumeReleased, corev1.PersistentVolumeReclaimRetain, deleted, released},
		{corev1.VolumeBound, corev1.PersistentVolumeReclaimDelete, nil, stays},
		{corev1.VolumeBound, corev1.PersistentVolumeReclaimDelete, deleted, stays},
		{corev1.VolumeAvailable, corev1.PersistentVolumeReclaimDelete, deleted, goes},
		{corev1.VolumeAvailable, corev1.PersistentVolumeReclaimDelete, nil, stays},
		{corev1.VolumePending, corev1.PersistentVolumeReclaimDelete, deleted, stays},
	} {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: row.deleted, Finalizers: []string{localvolume.Finalizer}}}
		v.Spec.PersistentVolumeReclaimPolicy, v.Status.Phase = row.policy, row.phase
		if got := fateOf(v); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}
