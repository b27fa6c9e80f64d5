package world

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// table holds the objects of one kind. Its methods run with the World's mu held.
type table[T object] struct {
	row[T]
	world   *World
	objects map[types.NamespacedName]T
	filed   map[types.NamespacedName][]T // by owner; sorted by name; replaced, never edited
}

// anyTable is a table of whatever kind.
type anyTable interface {
	// put and remove do nothing with objects of other kinds, and report whether it is one of theirs.
	put(runtime.Object) bool
	remove(runtime.Object) bool
	replace(all []runtime.Object, version string)
	tellAll(*Subscription)

	of() Kind
	tellsOf() Kind
	example() runtime.Object
	source(kubernetes.Interface) *cache.ListWatch
	trimmed(runtime.Object)
}

func newTable[T object](w *World, r row[T]) *table[T] {
	return &table[T]{row: r, world: w, objects: map[types.NamespacedName]T{}, filed: map[types.NamespacedName][]T{}}
}

func (t *table[T]) of() Kind { return t.kind }

func (t *table[T]) example() runtime.Object { return t.empty }

func (t *table[T]) source(c kubernetes.Interface) *cache.ListWatch { return t.read(c) }

// tellsOf is the kind whose changes this kind's are told as.
func (t *table[T]) tellsOf() Kind {
	if t.owner != nil {
		return t.owns
	}
	return t.kind
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// tells is the name under which changes of an object are told; without a name nobody is.
func (t *table[T]) tells(o T) types.NamespacedName {
	if t.owner != nil {
		return t.owner(o)
	}
	return nameOf(o)
}

// trimmed drops from an object that nobody else has what makes up a third of the memory of typical ones and is not read here.
func (t *table[T]) trimmed(obj runtime.Object) {
	o, ok := obj.(T)
	if !ok {
		return
	}
	o.SetManagedFields(nil)
	if a := o.GetAnnotations(); a != nil {
		delete(a, corev1.LastAppliedConfigAnnotation)
	}
	if t.trim != nil {
		t.trim(o)
	}
}

// put stores an object, replacing the one of the same name.
func (t *table[T]) put(obj runtime.Object) bool {
	o, ok := obj.(T)
	if ok {
		t.store(o)
		t.world.reached(t.kind, o.GetResourceVersion())
	}
	return ok
}

func (t *table[T]) store(o T) {
	name, now := nameOf(o), t.tells(o)
	if t.seen != nil {
		t.seen(o)
	}
	before, known := t.objects[name]
	t.objects[name] = o
	if known {
		if was := t.tells(before); was != now {
			t.unfile(was, name.Name)
			t.world.tell(t.tellsOf(), was)
			known = false
		}
	}
	t.file(now, o)
	if !known || t.alike == nil || !t.alike(before, o) {
		t.world.tell(t.tellsOf(), now)
	}
}

// remove removes the object of obj's name, if it is there. Its resource version is that of the deletion.
func (t *table[T]) remove(obj runtime.Object) bool {
	o, ok := obj.(T)
	if ok {
		t.delete(nameOf(o))
		t.world.reached(t.kind, o.GetResourceVersion())
	}
	return ok
}

func (t *table[T]) delete(name types.NamespacedName) {
	o, known := t.objects[name]
	if !known {
		return
	}
	delete(t.objects, name)
	t.unfile(t.tells(o), name.Name)
	t.world.tell(t.tellsOf(), t.tells(o))
}

// replace makes the objects exactly those given, in one step for readers: those there are at version.
func (t *table[T]) replace(all []runtime.Object, version string) {
	if len(t.objects) == 0 {
		t.objects = make(map[types.NamespacedName]T, len(all))
		if t.owner != nil {
			t.filed = make(map[types.NamespacedName][]T, len(all))
		}
	} else {
		t.prune(all)
	}
	for _, obj := range all {
		if o, ok := obj.(T); ok {
			t.store(o)
		}
	}
	t.world.reached(t.kind, version)
	t.world.listed(t.kind)
}

// prune removes the objects that are not among those given.
func (t *table[T]) prune(all []runtime.Object) {
	keep := make(map[types.NamespacedName]struct{}, len(all))
	for _, obj := range all {
		if o, ok := obj.(T); ok {
			keep[nameOf(o)] = struct{}{}
		}
	}
	for name := range t.objects {
		if _, ok := keep[name]; !ok {
			t.delete(name)
		}
	}
}

// tellAll tells a new reader of everything that is there.
func (t *table[T]) tellAll(s *Subscription) {
	if t.owner == nil {
		s.expect(t.kind, len(t.objects))
		for name := range t.objects {
			s.add(t.kind, name)
		}
		return
	}
	for owner := range t.filed {
		s.add(t.owns, owner)
	}
}

// file puts an object among those of its owner, in the place of the one of its name.
func (t *table[T]) file(owner types.NamespacedName, o T) {
	if t.owner == nil || owner.Name == "" {
		return
	}
	old := t.filed[owner]
	i, found := find(old, o.GetName())
	next := make([]T, 0, len(old)+1)
	next = append(append(next, old[:i]...), o)
	if found {
		i++
	}
	t.filed[owner] = append(next, old[i:]...)
}

func (t *table[T]) unfile(owner types.NamespacedName, name string) {
	old := t.filed[owner]
	i, found := find(old, name)
	switch {
	case !found:
	case len(old) == 1:
		delete(t.filed, owner)
	default:
		t.filed[owner] = append(slices.Clone(old[:i]), old[i+1:]...)
	}
}

func find[T object](sorted []T, name string) (int, bool) {
	return slices.BinarySearchFunc(sorted, name, func(o T, name string) int { return strings.Compare(o.GetName(), name) })
}

// sorted returns the names of all objects, sorted.
func (t *table[T]) sorted() []types.NamespacedName {
	names := make([]types.NamespacedName, 0, len(t.objects))
	for name := range t.objects {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b types.NamespacedName) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return names
}

// inOrder returns all objects, sorted by name.
func (t *table[T]) inOrder() []T {
	names := t.sorted()
	all := make([]T, len(names))
	for i, name := range names {
		all[i] = t.objects[name]
	}
	return all
}
