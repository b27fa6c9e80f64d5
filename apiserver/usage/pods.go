package usage

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"fairlead.dev/fairlead/api/usage"
)

// pods serves PodMetrics.
type pods struct{ from Source }

var (
	_ rest.Getter               = pods{}
	_ rest.Lister               = pods{}
	_ rest.Scoper               = pods{}
	_ rest.KindProvider         = pods{}
	_ rest.SingularNameProvider = pods{}
)

// New is part of rest.Storage.
func (pods) New() runtime.Object { return &metricsv1beta1.PodMetrics{} }

// NewList is part of rest.Lister.
func (pods) NewList() runtime.Object { return &metricsv1beta1.PodMetricsList{} }

// Destroy is part of rest.Storage.
func (pods) Destroy() {}

// Kind is part of rest.KindProvider.
func (pods) Kind() string { return "PodMetrics" }

// NamespaceScoped is part of rest.Scoper.
func (pods) NamespaceScoped() bool { return true }

// GetSingularName is part of rest.SingularNameProvider.
func (pods) GetSingularName() string { return "" }

// Get is part of rest.Getter.
func (p pods) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	o, err := p.from.Pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if pod, ok := o.(*corev1.Pod); ok && err == nil {
		if used := p.used(ctx, []*corev1.Pod{pod}); len(used) > 0 {
			return &used[0], nil
		}
	}
	return nil, apierrors.NewNotFound(metricsv1beta1.Resource("podmetrics"), genericapirequest.NamespaceValue(ctx)+"/"+name)
}

// List is part of rest.Lister.
func (p pods) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	all, err := list[*corev1.Pod](ctx, p.from.Pods, options)
	if err != nil {
		return nil, err
	}
	return &metricsv1beta1.PodMetricsList{Items: p.used(ctx, all)}, nil
}

// used is what pods use that run, without those whose nodes do not answer, or do not know it yet.
func (p pods) used(ctx context.Context, all []*corev1.Pod) []metricsv1beta1.PodMetrics {
	var names []string
	for _, pod := range all {
		if pod.Status.Phase == corev1.PodRunning {
			names = append(names, pod.Spec.NodeName)
		}
	}
	known := map[string]usage.Pod{}
	for _, r := range p.from.reports(ctx, names) {
		for _, u := range r.Pods {
			known[u.UID] = u
		}
	}
	used := []metricsv1beta1.PodMetrics{}
	for _, pod := range all {
		if u, ok := known[string(pod.UID)]; ok && pod.Status.Phase == corev1.PodRunning {
			used = append(used, podMetrics(pod, u))
		}
	}
	return used
}

// podMetrics is what a pod uses. The time is that of its containers which began last, for which it is shortest.
func podMetrics(pod *corev1.Pod, u usage.Pod) metricsv1beta1.PodMetrics {
	m := metricsv1beta1.PodMetrics{ObjectMeta: describe(pod), Containers: []metricsv1beta1.ContainerMetrics{}}
	for i, c := range u.Containers {
		at, window := span(c.Use)
		if i == 0 || window.Duration < m.Window.Duration {
			m.Timestamp, m.Window = at, window
		}
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{Name: c.Name, Usage: amounts(c.Use)})
	}
	return m
}

// ConvertToTable is part of rest.TableConvertor.
func (pods) ConvertToTable(_ context.Context, o, _ runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{ColumnDefinitions: columns()}
	add := func(m *metricsv1beta1.PodMetrics) {
		sum := corev1.ResourceList{}
		for _, c := range m.Containers {
			for name, amount := range c.Usage {
				total := sum[name]
				total.Add(amount)
				sum[name] = total
			}
		}
		table.Rows = append(table.Rows, row(m, m.Name, sum, m.Window))
	}
	switch o := o.(type) {
	case *metricsv1beta1.PodMetrics:
		add(o)
	case *metricsv1beta1.PodMetricsList:
		for i := range o.Items {
			add(&o.Items[i])
		}
	}
	return table, nil
}
