package endpoints

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func written(version string) *metav1.ObjectMeta { return &metav1.ObjectMeta{ResourceVersion: version} }

// showing is a cache at a version that holds objects.
func showing(version string, uids ...types.UID) func() (string, []types.UID) {
	return func() (string, []types.UID) { return version, uids }
}

func TestE37_NoPlanAgainstAnOutdatedCache(t *testing.T) {
	var l ledger
	k := key("a", "web")
	if !l.current(k, showing("")) {
		t.Error("nothing was written, yet the cache is behind")
	}
	l.wrote(k, written("12"))
	l.wrote(k, written("9"))
	if l.current(k, showing("11")) {
		t.Error("the cache is at 11, 12 was written")
	}
	if l.current(key("a", "web"), showing("9")) {
		t.Error("9 is before 12")
	}
	if !l.current(key("a", "other"), showing("1")) {
		t.Error("another Service has to wait")
	}
	if !l.current(k, showing("12")) {
		t.Error("the cache has caught up")
	}
	if len(l.entries) != 0 {
		t.Error("settled entries are kept")
	}
}

func TestE68_DeletedObjectsMustBeGone(t *testing.T) {
	var l ledger
	k := key("a", "web")
	l.removing(k, "u1")
	l.removing(k, "u2")
	l.kept(k, "u2")
	if !l.expects(k, "u1") || l.expects(k, "u2") || l.expects(k, "u3") {
		t.Error("does not know its own deletions")
	}
	if l.current(k, showing("5", "u1", "u2")) {
		t.Error("the cache still shows what was deleted")
	}
	if !l.current(k, showing("5", "u2")) {
		t.Error("the cache has caught up")
	}
}

func TestE68_PutOffSyncIsWokenOnce(t *testing.T) {
	var l ledger
	k := key("a", "web")
	l.wrote(k, written("7"))
	if l.observed(k) {
		t.Error("woken before anything waits")
	}
	l.current(k, showing("6"))
	if !l.observed(k) || l.observed(k) {
		t.Error("not woken exactly once")
	}
	l.forget(k)
	if !l.current(k, showing("6")) {
		t.Error("forgotten, and still waiting")
	}
}
