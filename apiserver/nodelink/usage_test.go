package nodelink_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"fairlead.dev/fairlead/api/usage"
)

// usage tells what the node uses, and its pods with a UID among those that the test has said.
func (a *agent) usage(w http.ResponseWriter, _ *http.Request) {
	r := usage.Report{Node: usage.Use{Time: time.Unix(1000, 0), Window: 15 * time.Second, NanoCores: 25e7, WorkingSet: 1 << 30}}
	for _, uid := range a.uses {
		r.Pods = append(r.Pods, usage.Pod{UID: uid, Containers: []usage.Container{
			{Name: "a", Use: usage.Use{Time: time.Unix(1000, 0), Window: 15 * time.Second, NanoCores: 1e6, WorkingSet: 1 << 20}},
			{Name: "b", Use: usage.Use{Time: time.Unix(1000, 0), Window: 3 * time.Second, NanoCores: 2e6, WorkingSet: 1 << 20}},
		}})
	}
	_ = json.NewEncoder(w).Encode(r)
}

func TestUsage(t *testing.T) {
	c := newCluster(t)
	ready, silent := c.run(t, "ready", "n1", "a", "b"), c.run(t, "unknown", "n1", "a")
	pending := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pending"}, Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "a", Image: "i"}}}}
	pending, err := c.client.CoreV1().Pods("default").Create(t.Context(), pending, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "silent"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.agent.uses = []string{string(ready.UID), string(pending.UID)}
	client, err := metrics.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.NodeMetricses().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 || text(nodes.Items[0].Usage) != "250m 1Gi" || nodes.Items[0].Window.Duration != 15*time.Second || nodes.Items[0].Timestamp.Unix() != 1000 {
		t.Errorf("nodes: %+v, %v", nodes, err)
	}
	pods, err := client.PodMetricses("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 || pods.Items[0].Name != "ready" || len(pods.Items[0].Containers) != 2 || pods.Items[0].Window.Duration != 3*time.Second {
		t.Fatalf("pods: %+v, %v", pods, err)
	}
	for options, want := range map[metav1.ListOptions]int{
		{FieldSelector: "metadata.name=ready"}: 1, {FieldSelector: "metadata.name=other"}: 0, {LabelSelector: "nobody=has"}: 0, {LabelSelector: "!nobody"}: 1,
	} {
		if got, err := client.PodMetricses("default").List(t.Context(), options); err != nil || len(got.Items) != want {
			t.Errorf("%+v: %+v, %v", options, got, err)
		}
	}
	for name, want := range map[string]string{
		"nosuch":    `podmetrics.metrics.k8s.io "default/nosuch" not found`,
		silent.Name: `podmetrics.metrics.k8s.io "default/unknown" not found`, "pending": `podmetrics.metrics.k8s.io "default/pending" not found`,
	} {
		if _, err := client.PodMetricses("default").Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := client.NodeMetricses().Get(t.Context(), "silent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a node that does not answer: %v", err)
	}
	checkTable(t, client.RESTClient())
}

// checkTable sees that the table is metrics-server's.
func checkTable(t *testing.T, client rest.Interface) {
	t.Helper()
	raw, err := client.Get().Namespace("default").Resource("pods").SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(t.Context()).Raw()
	var table metav1.Table
	if err != nil || json.Unmarshal(raw, &table) != nil || len(table.Rows) != 1 {
		t.Fatalf("%s, %v", raw, err)
	}
	var names []string
	for _, column := range table.ColumnDefinitions {
		names = append(names, column.Name)
	}
	if got := strings.Join(names, " ") + fmt.Sprint(table.Rows[0].Cells); got != "Name cpu memory Window[ready 3m 2Mi 3s]" {
		t.Errorf("table: %s", got)
	}
}

func text(l corev1.ResourceList) string { return l.Cpu().String() + " " + l.Memory().String() }
