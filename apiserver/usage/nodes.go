package usage

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// nodes serves NodeMetrics.
type nodes struct{ from Source }

var (
	_ rest.Getter               = nodes{}
	_ rest.Lister               = nodes{}
	_ rest.Scoper               = nodes{}
	_ rest.KindProvider         = nodes{}
	_ rest.SingularNameProvider = nodes{}
)

// New is part of rest.Storage.
func (nodes) New() runtime.Object { return &metricsv1beta1.NodeMetrics{} }

// NewList is part of rest.Lister.
func (nodes) NewList() runtime.Object { return &metricsv1beta1.NodeMetricsList{} }

// Destroy is part of rest.Storage.
func (nodes) Destroy() {}

// Kind is part of rest.KindProvider.
func (nodes) Kind() string { return "NodeMetrics" }

// NamespaceScoped is part of rest.Scoper.
func (nodes) NamespaceScoped() bool { return false }

// GetSingularName is part of rest.SingularNameProvider.
func (nodes) GetSingularName() string { return "" }

// Get is part of rest.Getter.
func (n nodes) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	o, err := n.from.Nodes.Get(ctx, name, &metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if node, ok := o.(*corev1.Node); ok && err == nil {
		if used := n.used(ctx, []*corev1.Node{node}); len(used) > 0 {
			return &used[0], nil
		}
	}
	return nil, apierrors.NewNotFound(metricsv1beta1.Resource("nodemetrics"), name)
}

// List is part of rest.Lister.
func (n nodes) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	all, err := list[*corev1.Node](ctx, n.from.Nodes, options)
	if err != nil {
		return nil, err
	}
	return &metricsv1beta1.NodeMetricsList{Items: n.used(ctx, all)}, nil
}

// used is what nodes use, without those that do not answer.
func (n nodes) used(ctx context.Context, all []*corev1.Node) []metricsv1beta1.NodeMetrics {
	names := make([]string, len(all))
	for i, node := range all {
		names[i] = node.Name
	}
	reports := n.from.reports(ctx, names)
	used := []metricsv1beta1.NodeMetrics{}
	for _, node := range all {
		if r, ok := reports[node.Name]; ok && !r.Node.Time.IsZero() {
			m := metricsv1beta1.NodeMetrics{ObjectMeta: describe(node), Usage: amounts(r.Node)}
			m.Timestamp, m.Window = span(r.Node)
			used = append(used, m)
		}
	}
	return used
}

// ConvertToTable is part of rest.TableConvertor.
func (nodes) ConvertToTable(_ context.Context, o, _ runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{ColumnDefinitions: columns()}
	add := func(m *metricsv1beta1.NodeMetrics) {
		table.Rows = append(table.Rows, row(m, m.Name, m.Usage, m.Window))
	}
	switch o := o.(type) {
	case *metricsv1beta1.NodeMetrics:
		add(o)
	case *metricsv1beta1.NodeMetricsList:
		for i := range o.Items {
			add(&o.Items[i])
		}
	}
	return table, nil
}
