package api

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestAge(t *testing.T) {
	at := func(seconds int64, namespace, name string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(seconds, 0)}}
	}
	for name, c := range map[string]struct {
		elder, younger *corev1.Service
	}{
		"created first":                {at(1, "z", "z"), at(2, "a", "a")},
		"same second, by namespace":    {at(1, "a", "z"), at(1, "b", "a")},
		"same namespace, by name":      {at(1, "a", "a"), at(1, "a", "b")},
		"a namespace and a longer one": {at(1, "a", "z"), at(1, "a-b", "a")}, // '-' sorts before '/'
	} {
		elder, younger := AgeOf(c.elder), AgeOf(c.younger)
		if elder.Compare(younger) >= 0 || younger.Compare(elder) <= 0 || elder.Compare(elder) != 0 {
			t.Errorf("%s: %v and %v", name, elder, younger)
		}
	}
	zone := time.FixedZone("east", 3600)
	if a := (Age{Created: time.Unix(1, 0)}); a.Compare(Age{Created: time.Unix(1, 0).In(zone)}) != 0 {
		t.Error("the same moment, written in another zone, is another age")
	}
}

func TestName(t *testing.T) {
	name := Name(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}})
	if name != (types.NamespacedName{Namespace: "ns", Name: "p"}) || name.String() != "ns/p" {
		t.Errorf("%v", name)
	}
	if APIService.String() != "default/kubernetes" || DNSService.String() != "kube-system/kube-dns" {
		t.Errorf("%v, %v", APIService, DNSService)
	}
}
