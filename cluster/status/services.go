package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/network/health"
)

// nodePatience bounds how long one node is waited for: a dead one must not hide what the others say.
const nodePatience = 5 * time.Second

// Services is every Service of a cluster with what the nodes' kernels have made of it. The second value tells which nodes did not
// answer, and which cannot do what they should.
func Services(ctx context.Context, inst instance.Instance) (all []health.ServiceSummary, unasked, err error) {
	client, err := connect(inst)
	if err != nil {
		return nil, nil, err
	}
	if all, unasked, err = overview(ctx, client); err != nil {
		return nil, nil, fmt.Errorf("ask the API server: %w", err)
	}
	return all, unasked, nil
}

// connect is the API of a cluster that runs, as its administrator sees it.
func connect(inst instance.Instance) (kubernetes.Interface, error) {
	if _, running := inst.Running(); !running {
		return nil, fmt.Errorf("the cluster in %s is not running; 'fairlead up' starts it again", inst.Dir)
	}
	cfg, err := administrator(inst)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	cfg.WarningHandler, cfg.QPS, cfg.Burst = rest.NoWarnings{}, 200, 200
	return kubernetes.NewForConfig(cfg)
}

// overview asks the API server, and through it the nodes.
func overview(ctx context.Context, client kubernetes.Interface) ([]health.ServiceSummary, error, error) {
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
