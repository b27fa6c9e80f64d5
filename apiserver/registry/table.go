package registry

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

const (
	none    = "<none>"
	unknown = "<unknown>"
	unset   = "<unset>"
)

// table converts objects of a kind to the rows kubectl prints.
type table[T object] struct{ kind *kind[T] }

// ConvertToTable returns one row for obj, or one for each item when obj is a list.
func (t table[T]) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	objs, err := t.objects(obj)
	if err != nil {
		return nil, err
	}
	result := &metav1.Table{ColumnDefinitions: t.kind.columns}
	if t.kind.print != nil {
		if result, err = t.kind.print(objs); err != nil {
			return nil, fmt.Errorf("%s: %w", t.kind.resource(), err)
		}
	} else {
		result.Rows = make([]metav1.TableRow, 0, len(objs))
		for _, o := range objs {
			result.Rows = append(result.Rows, metav1.TableRow{Cells: t.kind.row(o)})
		}
	}
	for i, o := range objs {
		result.Rows[i].Object = runtime.RawExtension{Object: o}
	}
	if list, err := meta.ListAccessor(obj); err == nil {
		result.ResourceVersion = list.GetResourceVersion()
		result.Continue = list.GetContinue()
		result.RemainingItemCount = list.GetRemainingItemCount()
	} else if common, err := meta.CommonAccessor(obj); err == nil {
		result.ResourceVersion = common.GetResourceVersion()
	}
	if o, ok := options.(*metav1.TableOptions); ok && o.NoHeaders {
		result.ColumnDefinitions = nil
	}
	return result, nil
}

// objects are obj, or the items of a list.
func (t table[T]) objects(obj runtime.Object) ([]T, error) {
	var objs []T
	add := func(item runtime.Object) error {
		o, ok := item.(T)
		if !ok {
			return fmt.Errorf("%s: a %T has no columns", t.kind.resource(), item)
		}
		objs = append(objs, o)
		return nil
	}
	if !meta.IsListType(obj) {
		err := add(obj)
		return objs, err
	}
	objs = make([]T, 0, meta.LenList(obj))
	return objs, meta.EachListItem(obj, add)
}

// name, column, wide and age define columns: the object's name, a column of every listing, one of "-o wide" only,
// and the time since creation.
func name() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]}
}

func column(title, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: title, Type: kind, Description: description}
}

func wide(title, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: title, Type: kind, Description: description, Priority: 1}
}

func age() metav1.TableColumnDefinition {
	return column("Age", "string", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"])
}

// since prints the time that has passed as kubectl does: "5m", "<unknown>" for a time that is not set.
func since(at metav1.Time) string {
	if at.IsZero() {
		return unknown
	}
	return duration.HumanDuration(time.Since(at.Time))
}
