package upstream_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/controller/upstream"
	"fairlead.dev/fairlead/internal/apitest"
)

// cluster is an API server with the controllers of this package. There is no node: the tests say what becomes of pods.
type cluster struct {
	kubernetes.Interface
	config *rest.Config
}

func start(t *testing.T) cluster {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	config := server.ClientConfig()
	client := kubernetes.NewForConfigOrDie(config)
	shared := informers.NewSharedInformerFactory(client, 0)
	controllers := upstream.New(config, client, shared, cfg.CA, server.AwaitFirst, slog.New(slog.DiscardHandler))
	apitest.Control(t, shared, controllers.Run)
	return cluster{client, config}
}

// create makes an object of a manifest in the namespace default.
func (c cluster) create(t *testing.T, path, manifest string) {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(data).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

// pods waits until there are so many, and returns their names.
func (c cluster) pods(t *testing.T, n int) []string {
	t.Helper()
	var names []string
	eventually(t, func() bool {
		list, err := c.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		names = names[:0]
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		return len(names) == n
	})
	slices.Sort(names)
	return names
}

// becomes says what a node would say of a pod.
func (c cluster) becomes(t *testing.T, pod, status string) {
	t.Helper()
	if _, err := c.CoreV1().Pods("default").Patch(t.Context(), pod, types.MergePatchType, []byte(`{"status":`+status+`}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

const ready = `{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}`

// eventually waits until something is so.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	apitest.Eventually(t, func() string {
		if is() {
			return ""
		}
		return "it did not come to be"
	})
}

const template = `selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: x}]}}`

func TestStatefulSet(t *testing.T) {
	c := start(t)
	c.create(t, "/apis/apps/v1/namespaces/default/statefulsets", "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web}, spec: {replicas: 2, serviceName: web, "+template+"}}")
	if names := c.pods(t, 1); names[0] != "web-0" {
		t.Fatal(names)
	}
	c.becomes(t, "web-0", ready)
	if names := c.pods(t, 2); names[1] != "web-1" {
		t.Fatal(names)
	}
	pod, err := c.CoreV1().Pods("default").Get(t.Context(), "web-1", metav1.GetOptions{})
	if err != nil || pod.Spec.Hostname != "web-1" || pod.Spec.Subdomain != "web" {
		t.Errorf("%v, %v", pod, err)
	}
	scale, err := c.AppsV1().StatefulSets("default").GetScale(t.Context(), "web", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 2 || scale.Status.Selector != "app=a" {
		t.Errorf("%+v, %v", scale, err)
	}
}

func TestDaemonSet(t *testing.T) {
	c := start(t)
	for _, name := range []string{"n1", "n2"} {
		if _, err := c.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.create(t, "/apis/apps/v1/namespaces/default/daemonsets", "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent}, spec: {"+strings.Replace(template, "containers", "tolerations: [{operator: Exists}], containers", 1)+"}}")
	c.pods(t, 2)
	eventually(t, func() bool {
		d, err := c.AppsV1().DaemonSets("default").Get(t.Context(), "agent", metav1.GetOptions{})
		return err == nil && d.Status.DesiredNumberScheduled == 2 && d.Status.CurrentNumberScheduled == 2
	})
}

func TestJobRunsOnceAndIsRemovedWhenItsTimeIsOver(t *testing.T) {
	c := start(t)
	c.create(t, "/apis/batch/v1/namespaces/default/jobs", "{apiVersion: batch/v1, kind: Job, metadata: {name: once}, spec: {ttlSecondsAfterFinished: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}")
	pod := c.pods(t, 1)[0]
	c.becomes(t, pod, `{"phase":"Succeeded"}`)
	eventually(t, func() bool {
		j, err := c.BatchV1().Jobs("default").Get(t.Context(), "once", metav1.GetOptions{})
		return apierrors.IsNotFound(err) || err == nil && j.Status.Succeeded == 1 && j.DeletionTimestamp != nil // its pods go first, which is not for these controllers to do
	})
}

func TestReplicationController(t *testing.T) {
	c := start(t)
	c.create(t, "/api/v1/namespaces/default/replicationcontrollers", "{apiVersion: v1, kind: ReplicationController, metadata: {name: old}, spec: {replicas: 2, selector: {app: a}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: x}]}}}}")
	c.pods(t, 2)
	eventually(t, func() bool {
		rc, err := c.CoreV1().ReplicationControllers("default").Get(t.Context(), "old", metav1.GetOptions{})
		return err == nil && rc.Status.Replicas == 2
	})
}

func TestBudget(t *testing.T) {
	c := start(t)
	c.create(t, "/api/v1/namespaces/default/replicationcontrollers", "{apiVersion: v1, kind: ReplicationController, metadata: {name: old}, spec: {replicas: 2, selector: {app: a}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: x}]}}}}")
	for _, name := range c.pods(t, 2) {
		c.becomes(t, name, ready)
	}
	c.create(t, "/apis/policy/v1/namespaces/default/poddisruptionbudgets", "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: {minAvailable: 1, selector: {matchLabels: {app: a}}}}")
	eventually(t, func() bool {
		b, err := c.PolicyV1().PodDisruptionBudgets("default").Get(t.Context(), "b", metav1.GetOptions{})
		return err == nil && b.Status.DisruptionsAllowed == 1 && b.Status.ExpectedPods == 2
	})
}

func TestCronJobStartsJobs(t *testing.T) {
	t.Parallel() // it waits for the minute
	c := start(t)
	c.create(t, "/apis/batch/v1/namespaces/default/cronjobs", "{apiVersion: batch/v1, kind: CronJob, metadata: {name: often}, spec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}}}")
	for range 90 {
		jobs, err := c.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs.Items) > 0 {
			if !strings.HasPrefix(jobs.Items[0].Name, "often-") {
				t.Error(jobs.Items[0].Name)
			}
			return
		}
		time.Sleep(time.Second)
	}
	t.Error("no Job after more than a minute")
}
