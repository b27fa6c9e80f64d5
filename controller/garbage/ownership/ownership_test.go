package ownership

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestDecide(t *testing.T) {
	deleted := &metav1.Time{Time: time.Unix(1, 0)}
	ref := func(uid string) metav1.OwnerReference {
		return metav1.OwnerReference{UID: types.UID(uid), Name: uid}
	}
	blocking := func(uid string) metav1.OwnerReference {
		r, yes := ref(uid), true
		r.BlockOwnerDeletion = &yes
		return r
	}
	a, b := ref("a"), ref("b")
	for _, c := range []struct {
		what       string
		obj        metav1.ObjectMeta
		owners     []Owner
		dependents Dependents
		want       Action
	}{
		{"no owners", metav1.ObjectMeta{}, nil, Dependents{Any: true, Blocked: true}, Action{}},
		{"owner there", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a}}, []Owner{Solid}, Dependents{}, Action{}},
		{"owner gone", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a}}, []Owner{Dangling}, Dependents{Any: true, Blocked: true},
			Action{Verb: Delete, Policy: metav1.DeletePropagationBackground}},
		{"all owners gone", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a, b}}, []Owner{Dangling, Dangling}, Dependents{},
			Action{Verb: Delete, Policy: metav1.DeletePropagationBackground}},
		{"one owner left", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a, b}}, []Owner{Dangling, Solid}, Dependents{},
			Action{Verb: DropOwners, Owners: []metav1.OwnerReference{b}}},
		{"one owner left, the other waits", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a, b}}, []Owner{Solid, Waiting}, Dependents{Any: true, Blocked: true},
			Action{Verb: DropOwners, Owners: []metav1.OwnerReference{a}}},
		{"owner waits, no dependents", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a}}, []Owner{Waiting}, Dependents{},
			Action{Verb: Delete, Policy: metav1.DeletePropagationBackground}},
		{"owner waits, dependents", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a}}, []Owner{Waiting}, Dependents{Any: true},
			Action{Verb: Delete, Policy: metav1.DeletePropagationForeground}},
		{"owner gone, orphaning was wished", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{a}, Finalizers: []string{metav1.FinalizerOrphanDependents}},
			[]Owner{Dangling}, Dependents{Any: true}, Action{Verb: Delete, Policy: metav1.DeletePropagationOrphan}},
		{"deleted, no finalizer of ours", metav1.ObjectMeta{DeletionTimestamp: deleted, Finalizers: []string{"x"}, OwnerReferences: []metav1.OwnerReference{a}},
			[]Owner{Dangling}, Dependents{Any: true, Blocked: true}, Action{}},
		{"deleted in the foreground, blocked", metav1.ObjectMeta{DeletionTimestamp: deleted, Finalizers: []string{metav1.FinalizerDeleteDependents}},
			nil, Dependents{Any: true, Blocked: true}, Action{Verb: DeleteDependents}},
		{"deleted in the foreground, free", metav1.ObjectMeta{DeletionTimestamp: deleted, Finalizers: []string{metav1.FinalizerDeleteDependents}},
			nil, Dependents{Any: true}, Action{Verb: RemoveFinalizer, Finalizer: metav1.FinalizerDeleteDependents}},
		{"deleted in the foreground, in a circle", metav1.ObjectMeta{DeletionTimestamp: deleted, Finalizers: []string{metav1.FinalizerDeleteDependents},
			OwnerReferences: []metav1.OwnerReference{blocking("a"), blocking("b")}}, []Owner{Waiting, Waiting},
			Dependents{Any: true, Blocked: true, Circle: map[types.UID]bool{"a": true, "self": true}},
			Action{Verb: Unblock, Owners: []metav1.OwnerReference{{UID: "a", Name: "a", BlockOwnerDeletion: new(bool)}, blocking("b")}}},
		{"deleted, orphans", metav1.ObjectMeta{DeletionTimestamp: deleted, Finalizers: []string{metav1.FinalizerOrphanDependents}},
			nil, Dependents{Any: true, Blocked: true}, Action{Verb: Orphan, Finalizer: metav1.FinalizerOrphanDependents}},
	} {
		if got := Decide(&c.obj, c.owners, c.dependents); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}
