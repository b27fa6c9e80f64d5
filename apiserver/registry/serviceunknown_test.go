package registry

import (
	"context"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// answer is a storage that answers every creation with an error.
type answer struct {
	storage.Interface
	err error
}

// Create is part of storage.Interface.
func (a answer) Create(context.Context, string, runtime.Object, runtime.Object, uint64) error {
	return a.err
}

// TestUnknownOutcome: only an answer that says that nothing was written gives a number back.
func TestUnknownOutcome(t *testing.T) {
	x := number{addr: netip.MustParseAddr("10.96.7.7")}
	for _, test := range []struct {
		err  error
		free bool
	}{
		{storage.NewKeyExistsError("a", 1), true},
		{apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), "a", nil), true},
		{NotWritten{context.Canceled}, true},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{storage.NewTimeoutError("a", "etcdserver: request timed out"), false},
		{apierrors.NewInternalError(context.Canceled), false},
	} {
		n := dualStack(t)
		s := &serviceStore{numbers: n, doubt: make(chan struct{}, 1)}
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: x.addr.String(), ClusterIPs: []string{x.addr.String()}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}}
		c := &claim{numbers: n}
		if err := c.service(svc, nil); err != nil {
			t.Fatal(err)
		}
		_ = ledger{answer{err: test.err}, s}.Create(context.WithValue(t.Context(), claimKey{}, c), "a", svc, svc, 0)
		c.undo() // as the request does at its end
		if free := n.check(x, "") == nil; free != test.free {
			t.Errorf("%v: free %v", test.err, free)
		}
		if wonders := len(s.doubt) == 1; wonders == test.free {
			t.Errorf("%v: the repair looks soon: %v", test.err, wonders)
		}
		h := n.held()[x]
		if !test.free && (h.writing || !n.forget(x, h) || n.check(x, "") != nil) {
			t.Errorf("%v: the repair cannot give it back: %+v", test.err, h)
		}
	}
}

// TestReleasedTwice: what was given back, and given to another since, is not given back again.
func TestReleasedTwice(t *testing.T) {
	n := dualStack(t)
	x := []number{{port: 30001}}
	if err := n.take(x[0], "a"); err != nil {
		t.Fatal(err)
	}
	n.release(x, "a")
	if err := n.take(x[0], "b"); err != nil {
		t.Fatal(err)
	}
	n.release(x, "a")
	if n.check(x[0], "") == nil {
		t.Error("released for a Service that does not have it")
	}
}
