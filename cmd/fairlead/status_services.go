package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/network/health"
)

// nodePatience bounds how long one node is waited for: a dead one must not hide what the others say.
const nodePatience = 5 * time.Second

// statusServices prints every Service with what the nodes' kernels have made of it.
func statusServices(ctx context.Context, inst instance.Instance, format string, out io.Writer) error {
	if _, running := inst.Running(); !running {
		return fmt.Errorf("the cluster in %s is not running; 'fairlead up' starts it again", inst.Dir)
	}
	cfg, err := adminClient(inst)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	cfg.WarningHandler, cfg.QPS, cfg.Burst = rest.NoWarnings{}, 200, 200
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	all, unasked, err := overview(ctx, client)
	if err != nil {
		return fmt.Errorf("ask the API server at %s: %w", cfg.Host, err)
	}
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(all)
	} else {
		err = showServices(out, all, time.Now())
	}
	return errors.Join(err, unasked)
}

// overview asks the API server, and through it the nodes. The second value tells which nodes did not answer,
// and which cannot do what they should.
func overview(ctx context.Context, client kubernetes.Interface) ([]health.Overview, error, error) {
	services, err := client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	slices, err := client.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	reports, unasked := make([]health.Report, len(nodes.Items)), make([]error, len(nodes.Items))
	var group sync.WaitGroup
	for i := range nodes.Items {
		group.Go(func() { reports[i], unasked[i] = askNode(ctx, client, &nodes.Items[i]) })
	}
	group.Wait()
	var answered []health.Report
	var silent []string
	troubles := unasked
	for i, r := range reports {
		if unasked[i] != nil {
			silent = append(silent, nodes.Items[i].Name)
			continue
		}
		answered = append(answered, r)
		troubles = append(troubles, trouble(r))
	}
	return health.Summarize(services.Items, slices.Items, answered, silent), errors.Join(troubles...), nil
}

// trouble is what keeps a node from programming what it should, nil if nothing does.
func trouble(r health.Report) error {
	if r.Failure == "" {
		return nil
	}
	return fmt.Errorf("node %s has not brought its kernel up to date since %s: %s", r.Node, r.Pending.Format(time.RFC3339), r.Failure)
}

// askNode has the API server ask a node's agent.
func askNode(ctx context.Context, client kubernetes.Interface, node *corev1.Node) (r health.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	text, err := client.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).SubResource("proxy").
		Suffix(strings.TrimPrefix(health.ReportPath, "/")).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("node %s did not say what it has programmed: %w", node.Name, err)
	}
	r.Node = node.Name
	return r, nil
}

// showServices prints a line for each Service and below it one for each of its endpoints.
func showServices(out io.Writer, all []health.Overview, now time.Time) error {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tADDRESS\tREADY\tCONNECTIONS\tPROGRAMMED")
	for _, o := range all {
		address := "None"
		if len(o.Addresses) > 0 {
			address = strings.Join(o.Addresses, ",")
		}
		fmt.Fprintf(w, "%s/%s\t%s\t%d/%d\t%s\t%s\n", o.Namespace, o.Name, address, o.Ready, o.Total, connections(o.Needed, o.Connections), programmed(o, now))
		for _, e := range o.Endpoints {
			where := "  on no node"
			if e.Node != "" {
				where = "  on " + e.Node
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", where, e.Address, e.State, connections(o.Needed, e.Connections))
		}
	}
	w.Flush()
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func connections(needed bool, n uint64) string {
	if !needed {
		return "-" // nothing is balanced: clients go to the endpoints by themselves
	}
	return fmt.Sprint(n)
}

// programmed says in how many kernels a Service is, and since when as it is now.
func programmed(o health.Overview, now time.Time) string {
	total := len(o.Nodes) + len(o.Missing)
	switch {
	case o.ServedBy != "":
		return "by " + o.ServedBy
	case !o.Needed:
		return "not needed"
	case len(o.Nodes) == 0:
		return "no"
	case len(o.Missing) > 0:
		return fmt.Sprintf("on %d of %d nodes, not on %s", len(o.Nodes), total, strings.Join(o.Missing, ","))
	}
	since := duration.HumanDuration(now.Sub(o.Since))
	if total == 1 {
		return "for " + since
	}
	return fmt.Sprintf("on all %d nodes, for %s", total, since)
}
