// Package usage serves metrics.k8s.io: what nodes and pods use, in the shapes of upstream's metrics-server. Nothing is stored: whoever
// asks has the agents of the nodes asked. A metrics-server of the user's own goes before it (apiserver/aggregation).
package usage

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api/usage"
)

const (
	// patience bounds how long an agent may take. Its first answer takes it a second.
	patience = 5 * time.Second
	// atOnce is how many agents are asked at the same time.
	atOnce = 32
)

// Source is where it is found out what there is, and what that uses.
type Source struct {
	Pods, Nodes Objects
	Ask         func(ctx context.Context, node string) (usage.Report, error)
}

// Objects is a storage of objects to read.
type Objects interface {
	rest.Getter
	rest.Lister
}

// Storage is the resources of metrics.k8s.io/v1beta1 by name.
func Storage(s Source) map[string]rest.Storage {
	return map[string]rest.Storage{"nodes": nodes{s}, "pods": pods{s}}
}

// reports asks the agents of nodes, each once. Those that do not answer are not in what is returned.
func (s Source) reports(ctx context.Context, names []string) map[string]usage.Report {
	slices.Sort(names)
	names = slices.Compact(names)
	var mu sync.Mutex
	var asked sync.WaitGroup
	all, turns := map[string]usage.Report{}, make(chan struct{}, atOnce)
	for _, name := range names {
		turns <- struct{}{}
		asked.Go(func() {
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if r, err := s.Ask(ctx, name); err == nil {
				mu.Lock()
				defer mu.Unlock()
				all[name] = r
			}
		})
	}
	asked.Wait()
	return all
}

// list is the objects of a storage that a request selects, in the order of their names.
func list[T metav1.Object](ctx context.Context, from rest.Lister, options *metainternalversion.ListOptions) ([]T, error) {
	chosen := &metainternalversion.ListOptions{}
	matches := func(T) bool { return true }
	if options != nil {
		chosen.LabelSelector = options.LabelSelector
		if f := options.FieldSelector; f != nil {
			matches = func(o T) bool {
				return f.Matches(fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()})
			}
		}
	}
	found, err := from.List(ctx, chosen)
	if err != nil {
		return nil, err
	}
	var all []T
	err = meta.EachListItem(found, func(o runtime.Object) error {
		if t, ok := o.(T); ok && matches(t) {
			all = append(all, t)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b T) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return all, err
}

// amounts is what was used, as metrics-server writes it: processors in nanocores, memory in bytes.
func amounts(u usage.Use) corev1.ResourceList {
	memory := resource.NewQuantity(int64(u.WorkingSet), resource.BinarySI)
	return corev1.ResourceList{corev1.ResourceCPU: *resource.NewScaledQuantity(int64(u.NanoCores), resource.Nano), corev1.ResourceMemory: *memory}
}

// describe is the metadata of what somebody uses: that of somebody, made now.
func describe(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), Labels: o.GetLabels(), CreationTimestamp: metav1.Now()}
}

// span is when and over which time it was used.
func span(u usage.Use) (metav1.Time, metav1.Duration) {
	return metav1.NewTime(u.Time), metav1.Duration{Duration: u.Window.Round(time.Millisecond)}
}

// row is a line of a table: a name, what is used, and over which time.
func row(o runtime.Object, name string, used corev1.ResourceList, window metav1.Duration) metav1.TableRow {
	return metav1.TableRow{Object: runtime.RawExtension{Object: o}, Cells: []any{name, used.Cpu().String(), used.Memory().String(), window.Duration.String()}}
}

// columns are those of metrics-server, in its order.
func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"},
		{Name: "cpu", Type: "string", Format: "quantity"}, {Name: "memory", Type: "string", Format: "quantity"},
		{Name: "Window", Type: "string", Format: "duration"},
	}
}
