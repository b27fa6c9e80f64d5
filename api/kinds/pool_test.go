package kinds

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// whole is a pool with something in every field that holds more than itself.
func whole() *AddressPool {
	auto := true
	return &AddressPool{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}},
		Spec: AddressPoolSpec{Addresses: []string{"192.0.2.1"}, AutoAssign: &auto, Announce: []Announcement{AnnounceL2},
			ServiceSelector:   &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
		Status: AddressPoolStatus{Conditions: []metav1.Condition{{Type: PoolUsable}}},
	}
}

// wholePeer is a peer with something in every field that holds more than itself.
func wholePeer() *BGPPeer {
	n, pref := int32(3), int64(200)
	return &BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}},
		Spec: BGPPeerSpec{PeerAddress: "192.0.2.1", PeerPort: 179, PeerASN: 1, LocalASN: 2, RouterID: "192.0.2.2", PasswordSecret: &PasswordSecret{Name: "s"},
			HoldTimeSeconds: &n, Multihop: &n, GracefulRestartSeconds: &n, NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
			Pools: []BGPPeerPool{{Name: "lan", Communities: []string{"1:2"}, LocalPreference: &pref}}},
		Status: BGPPeerStatus{Conditions: []metav1.Condition{{Type: PeerEstablished}}, Nodes: []BGPPeerNode{{Name: "n1"}}},
	}
}

// TestDeepCopy: a copy is the same, and shares no map, slice or pointer.
func TestDeepCopy(t *testing.T) {
	for _, obj := range []runtime.Object{whole(), &AddressPoolList{Items: []AddressPool{*whole()}}, wholePeer(), &BGPPeerList{Items: []BGPPeer{*wholePeer()}}} {
		copied := obj.DeepCopyObject()
		if !reflect.DeepEqual(obj, copied) {
			t.Errorf("the copy of %+v is %+v", obj, copied)
		}
		shared(t, reflect.TypeOf(obj).String(), reflect.ValueOf(obj), reflect.ValueOf(copied))
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[AddressPoolSpec]()) {
		if reflect.ValueOf(whole().Spec).FieldByIndex(field.Index).IsZero() && field.Name != "Priority" {
			t.Errorf("the test has nothing in %s", field.Name)
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[BGPPeerSpec]()) {
		if reflect.ValueOf(wholePeer().Spec).FieldByIndex(field.Index).IsZero() {
			t.Errorf("the test has nothing in %s of a peer", field.Name)
		}
	}
}

func shared(t *testing.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Pointer:
		if !a.IsNil() {
			if a.Pointer() == b.Pointer() {
				t.Errorf("%s is shared", path)
			}
			shared(t, path, a.Elem(), b.Elem())
		}
	case reflect.Map, reflect.Slice:
		if a.Len() > 0 && a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
		for i := 0; a.Kind() == reflect.Slice && i < a.Len(); i++ {
			shared(t, path, a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				shared(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		}
	}
}

func TestAnnounces(t *testing.T) {
	for _, c := range []struct {
		by      []Announcement
		l2, bgp bool
	}{{nil, true, true}, {[]Announcement{AnnounceL2}, true, false}, {[]Announcement{AnnounceNone}, false, false}} {
		p := &AddressPool{Spec: AddressPoolSpec{Announce: c.by}}
		if p.Announces(AnnounceL2) != c.l2 || p.Announces(AnnounceBGP) != c.bgp {
			t.Errorf("%v: L2 %v, BGP %v", c.by, p.Announces(AnnounceL2), p.Announces(AnnounceBGP))
		}
	}
}
