// Package status says what there is of a cluster and how each part is, asked now: of its processes by their locks, of the API server, and of
// every node through it.
package status

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// Row is one line of `fairlead status`.
type Row struct {
	Name, State, Detail string
	OK                  bool // as it should be
}

// Of says what there is of a cluster and how each part is: its processes, and while they run the API server and the nodes.
func Of(ctx context.Context, inst instance.Instance, s config.Settings) []Row {
	pid, running := inst.Running()
	rows := processes(inst, s.Name, pid, running)
	if !running {
		return rows
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg, err := administrator(inst)
	if err != nil {
		return append(rows, Row{Name: "API server", State: "unknown", Detail: err.Error()})
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err == nil {
		_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	}
	if err != nil {
		return append(rows, Row{Name: "API server", State: "not ready", Detail: err.Error()})
	}
	rows = append(rows, Row{Name: "API server", State: "ready", Detail: cfg.Host, OK: true})
	rows = append(rows, ending(cfg.CAData, time.Now())...)
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return append(rows, Row{Name: "nodes", State: "unknown", Detail: err.Error()})
	}
	return append(rows, nodesStatus(ctx, client, s, list.Items)...)
}

// administrator says how the commands of this host reach the API server: as its administrator, and through no proxy.
func administrator(inst instance.Instance) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", inst.Path("admin.kubeconfig"))
	if err == nil {
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	return cfg, err
}

// processes are what there is of the cluster's main process and of its keeper.
func processes(inst instance.Instance, name string, pid int, running bool) []Row {
	_, kept := inst.Keeper()
	past := restarts(inst)
	row := Row{Name: "cluster " + name}
	switch {
	case running:
		row.State, row.OK, row.Detail = "running", true, fmt.Sprintf("process %d, data in %s", pid, inst.Dir)
	case kept:
		row.State, row.Detail = "starting", "its main process has ended, and is started again; data in "+inst.Dir
	default:
		row.State, row.Detail = "stopped", "'fairlead up' starts it again, 'fairlead down' removes it; data in "+inst.Dir
	}
	rows := []Row{row}
	if past.Restarts > 0 {
		rows = append(rows, Row{Name: "main process", State: "restarted", Detail: past.String(), OK: !past.GaveUp})
	}
	if running && !kept && !inst.Foreground(pid) {
		rows = append(rows, Row{Name: "keeper", State: "missing", Detail: "nothing starts the main process again should it end; 'fairlead up' mends that"})
	}
	return rows
}
