package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/policy/policytest"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cluster is the same objects for Deriver and Allow.
type cluster struct {
	d *policy.Deriver
	policy.Objects
}

func (c *cluster) put(t *testing.T, obj metav1.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		c.Pods = put(c.Pods, o)
		c.d.SetPod(o)
	case *corev1.Namespace:
		c.Namespaces = put(c.Namespaces, o)
		c.d.SetNamespace(o.Name, o.Labels)
	case *networkingv1.NetworkPolicy:
		c.Policies = put(c.Policies, o)
		if err := c.d.SetPolicy(o); err != nil {
			t.Fatal(err)
		}
	}
}

func put[T metav1.Object](all []T, o T) []T { return append(without(all, o), o) }

func without[T metav1.Object](all []T, o T) []T {
	return slices.DeleteFunc(all, func(x T) bool { return api.Name(x) == api.Name(o) })
}

// change does something at random to the cluster.
func (c *cluster) change(t *testing.T, r policytest.Random) {
	switch n := r.IntN(20); {
	case n < 4:
		pod := r.Pod(r.IntN(14))
		c.put(t, pod)
	case n < 5 && len(c.Pods) > 0:
		gone := policytest.Pick(r, c.Pods...)
		c.Pods = without(c.Pods, gone)
		c.d.DeletePod(api.Name(gone))
	case n < 7:
		c.put(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", r.IntN(3)), Labels: r.Labels()}})
	case n < 9 && len(c.Policies) > 0:
		gone := policytest.Pick(r, c.Policies...)
		c.Policies = without(c.Policies, gone)
		c.d.DeletePolicy(api.Name(gone))
	case len(c.Policies) < 12:
		c.put(t, r.Policy(r.IntN(20)))
	}
}

// Rows that follow changes say of every packet what the documentation says, and so do rows that are made at once; and what Take tells
// of leads from one to the next.
func TestRowsAgreeWithAllow(t *testing.T) {
	passed, refused := 0, 0
	for seed := range uint64(300) {
		r := policytest.New(seed)
		c := &cluster{d: policy.New("here")}
		followed := map[netip.Addr]policy.Group{}
		for step := range 40 {
			for range 1 + r.IntN(4) {
				c.change(t, r)
			}
			rows := c.d.Rows()
			gone, come := rows.Peers.Take()
			for _, row := range gone {
				if followed[row.Key] != row.Value {
					t.Fatalf("seed %d: row %v goes, which was not there", seed, row)
				}
				delete(followed, row.Key)
			}
			for _, row := range come {
				followed[row.Key] = row.Value
			}
			if len(followed) != rows.Peers.Len() {
				t.Fatalf("seed %d: %d rows by changes, %d there are", seed, len(followed), rows.Peers.Len())
			}
			anew := policy.New("here")
			fresh := &cluster{d: anew}
			for _, o := range c.Namespaces {
				fresh.put(t, o)
			}
			for _, o := range c.Policies {
				fresh.put(t, o)
			}
			for _, o := range c.Pods {
				fresh.put(t, o)
			}
			judge, atOnceJudge := rows.Judge(), anew.Rows().Judge()
			for range 60 {
				p := r.Packet()
				want := c.Allow(p, "here")
				if got, atOnce := judge.Passes(p), atOnceJudge.Passes(p); got != want || atOnce != want {
					t.Fatalf("seed %d, step %d: %+v: rows that followed say %t, rows made at once %t, the documentation %t", seed, step, p, got, atOnce, want)
				}
				if want {
					passed++
				} else {
					refused++
				}
			}
		}
	}
	if passed < refused/10 || refused < passed/10 {
		t.Errorf("%d passed, %d refused: that says little", passed, refused)
	}
}
