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
	result := &metav1.Table{}
	add := func(item runtime.Object) error {
		o, ok := item.(T)
		if !ok {
			return fmt.Errorf("%s: a %T has no columns", t.kind.resource(), item)
		}
		return t.add(result, o)
	}
	var err error
	if meta.IsListType(obj) {
		result.Rows = make([]metav1.TableRow, 0, meta.LenList(obj))
		err = meta.EachListItem(obj, add)
	} else {
		err = add(obj)
	}
	if err != nil {
		return nil, err
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
	} else {
		result.ColumnDefinitions = t.columns(result)
	}
	return result, nil
}

// add appends the row of an object, or the rows that upstream prints for it.
func (t table[T]) add(result *metav1.Table, obj T) error {
	if t.kind.print == nil {
		result.Rows = append(result.Rows, metav1.TableRow{Cells: t.kind.row(obj), Object: runtime.RawExtension{Object: obj}})
		return nil
	}
	printed, err := t.kind.print(obj)
	if err != nil {
		return fmt.Errorf("%s %s: %w", t.kind.resource(), obj.GetName(), err)
	}
	for _, row := range printed.Rows {
		row.Object = runtime.RawExtension{Object: obj}
		result.Rows = append(result.Rows, row)
	}
	result.ColumnDefinitions = printed.ColumnDefinitions
	return nil
}

// columns are those of the kind; where upstream prints it, those of the rows that are there, or of an empty object's.
func (t table[T]) columns(result *metav1.Table) []metav1.TableColumnDefinition {
	if t.kind.print == nil {
		return t.kind.columns
	}
	if result.ColumnDefinitions != nil {
		return result.ColumnDefinitions
	}
	printed, err := t.kind.print(t.kind.new())
	if err != nil {
		return nil
	}
	return printed.ColumnDefinitions
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
