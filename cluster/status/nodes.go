package status

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/cluster/config"
)

// nodesStatus is a row for each node that there is, and for each that there should be. What the API server has stored of a
// node was true once; whether its agent lives the agent itself is asked.
func nodesStatus(ctx context.Context, client kubernetes.Interface, s config.Settings, nodes []corev1.Node) []Row {
	rows := make([]Row, len(nodes))
	var asked sync.WaitGroup
	for i, n := range nodes {
		rows[i] = nodeStatus(n)
		asked.Go(func() {
			if err := askAgent(ctx, client, n.Name); err != nil {
				rows[i].OK, rows[i].State, rows[i].Detail = false, "no answer", fmt.Sprintf("its agent cannot be reached: %v", err)
			}
		})
	}
	asked.Wait()
	for _, name := range ownNodes(s) {
		if !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Name == name }) {
			rows = append(rows, Row{Name: "node " + name, State: "missing", Detail: "there is no such Node: somebody has deleted it; its agent registers it again within seconds"})
		}
	}
	return rows
}

// ownNodes are those that `up` has made on this host.
func ownNodes(s config.Settings) []string {
	if s.Nodes == 0 && s.NodeName != "" {
		return []string{s.NodeName}
	}
	var names []string
	for i := range s.Nodes {
		names = append(names, fmt.Sprintf("node%d", i+1))
	}
	return names
}

func askAgent(ctx context.Context, client kubernetes.Interface, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return client.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("healthz").Do(ctx).Error()
}

func nodeStatus(n corev1.Node) Row {
	row := Row{Name: "node " + n.Name, State: "unknown"}
	if c := api.NodeCondition(n.Status.Conditions, corev1.NodeReady); c != nil {
		row.OK = api.NodeReady(&n)
		row.State, row.Detail = "not ready", c.Message
		if row.OK {
			row.State, row.Detail = "ready", n.Spec.PodCIDR
			if runs := n.Status.NodeInfo.ContainerRuntimeVersion; runs != "" {
				row.Detail += ", " + strings.Replace(runs, "://", " ", 1)
			}
		}
	}
	for _, ip := range api.InternalIPs(&n) {
		row.Detail = ip.String() + ", " + row.Detail
	}
	return row
}
