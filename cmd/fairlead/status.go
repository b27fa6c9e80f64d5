package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

func statusCommand() *cobra.Command {
	var flags config.Config
	var services bool
	var format string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is running and healthy now, or with --services every Service as the kernel has it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "" && (format != "json" || !services) {
				return fmt.Errorf("output %q: must be json, together with --services", format)
			}
			inst, s, err := locate(flags)
			if err != nil {
				return err
			}
			if services {
				return statusServices(c.Context(), inst, format, c.OutOrStdout())
			}
			rows := status(c.Context(), inst, s)
			return show(c.OutOrStdout(), rows)
		},
	}
	whereFlags(c, &flags)
	c.Flags().BoolVar(&services, "services", false, "show every Service: its endpoints, their connections since the start, and whether the kernel has it")
	c.Flags().StringVarP(&format, "output", "o", "", "json: for programs, together with --services")
	return c
}

// part is one line of `status`.
type part struct {
	name, state, detail string
	ok                  bool
}

var errUnhealthy = errors.New("not everything is healthy")

func show(out io.Writer, rows []part) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "PART\tSTATE\tDETAIL")
	healthy := true
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.name, r.state, r.detail)
		healthy = healthy && r.ok
	}
	w.Flush()
	if !healthy {
		return errUnhealthy
	}
	return nil
}

func status(ctx context.Context, inst instance.Instance, s config.Settings) []part {
	pid, running := inst.Running()
	rows := processes(inst, s.Name, pid, running)
	if !running {
		return rows
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg, err := adminClient(inst)
	if err != nil {
		return append(rows, part{name: "API server", state: "unknown", detail: err.Error()})
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err == nil {
		_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	}
	if err != nil {
		return append(rows, part{name: "API server", state: "not ready", detail: err.Error()})
	}
	rows = append(rows, part{name: "API server", state: "ready", detail: cfg.Host, ok: true})
	rows = append(rows, ending(cfg.CAData, time.Now())...)
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return append(rows, part{name: "nodes", state: "unknown", detail: err.Error()})
	}
	return append(rows, nodesStatus(ctx, client, s, list.Items)...)
}

// adminClient says how the commands of this host reach the API server.
func adminClient(inst instance.Instance) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", inst.Path("admin.kubeconfig"))
	if err == nil {
		cfg.Proxy = direct
	}
	return cfg, err
}

// processes are what there is of the cluster's main process and of its keeper.
func processes(inst instance.Instance, name string, pid int, running bool) []part {
	_, kept := inst.Keeper()
	past := restarts(inst)
	row := part{name: "cluster " + name}
	switch {
	case running:
		row.state, row.ok, row.detail = "running", true, fmt.Sprintf("process %d, data in %s", pid, inst.Dir)
	case kept:
		row.state, row.detail = "starting", "its main process has ended, and is started again; data in "+inst.Dir
	default:
		row.state, row.detail = "stopped", "'fairlead up' starts it again, 'fairlead down' removes it; data in "+inst.Dir
	}
	rows := []part{row}
	if past.Restarts > 0 {
		rows = append(rows, part{name: "main process", state: "restarted", detail: past.String(), ok: !past.GaveUp})
	}
	if running && !kept && !foreground(pid) {
		rows = append(rows, part{name: "keeper", state: "missing", detail: "nothing starts the main process again should it end; 'fairlead up' mends that"})
	}
	return rows
}
