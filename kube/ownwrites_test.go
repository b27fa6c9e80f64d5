package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// version is a pod of a UID at a version; wish is what its writers write.
func version(uid types.UID, version, wish int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: strconv.Itoa(version)},
		Spec: corev1.PodSpec{Priority: new(int32(wish))}}
}

func granted(cached, asked *corev1.Pod) bool { return *cached.Spec.Priority >= *asked.Spec.Priority }

// text prints pods: UID, version, wish, and a cross for one that is being deleted.
func text(pods []*corev1.Pod) string {
	var parts []string
	for _, p := range pods {
		cross := ""
		if p.DeletionTimestamp != nil {
			cross = "+"
		}
		parts = append(parts, fmt.Sprint(p.UID, "@", p.ResourceVersion, "=", *p.Spec.Priority, cross))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

type podWrites = OwnWrites[string, *corev1.Pod]

func TestOwnWritesAreRead(t *testing.T) {
	now := time.Unix(1000, 0)
	list := func(pods ...*corev1.Pod) []*corev1.Pod { return pods }
	for _, test := range []struct {
		name   string
		writes func(*podWrites)
		at     string // the cache's version
		cached []*corev1.Pod
		want   string
		left   int // objects that are still remembered
	}{
		{"nothing was written", func(*podWrites) {}, "5", list(version("a", 3, 0)), "a@3=0", 0},
		{"a new object", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "6", nil, "a@7=1", 1},
		{"one that the cache has", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "7", list(version("a", 7, 1)), "a@7=1", 0},
		{"one that came and went", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "8", nil, "", 0},
		{"a change", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "6", list(version("a", 3, 0)), "a@7=1", 1},
		{"a change of a change", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "9", list(version("a", 9, 2)), "a@9=2", 0},
		{"answers out of order", func(o *podWrites) { o.Wrote("k", version("a", 10, 2)); o.Wrote("k", version("a", 9, 1)) }, "6",
			list(version("a", 3, 0)), "a@10=2", 1},
		{"versions are numbers", func(o *podWrites) { o.Wrote("k", version("a", 9, 1)) }, "10", list(version("a", 10, 2)), "a@10=2", 0},
		{"another one of the name", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)) }, "9", list(version("b", 9, 0)), "b@9=0", 0},
		{"another one, too early", func(o *podWrites) { o.Wrote("k", version("b", 9, 1)); o.Deleted("k", "a", now) }, "6",
			list(version("a", 3, 0)), "a@3=0+ b@9=1", 2},
		{"a deletion", func(o *podWrites) { o.Deleted("k", "a", now) }, "6", list(version("a", 3, 0)), "a@3=0+", 1},
		{"a deletion that the cache shows", func(o *podWrites) { o.Deleted("k", "a", now) }, "8", nil, "", 0},
		{"new and deleted at once", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)); o.Deleted("k", "a", now) }, "6", nil, "a@7=1+", 1},
		{"others are not concerned", func(o *podWrites) { o.Wrote("other", version("a", 7, 1)) }, "6", nil, "", 0},
		{"what is forgotten", func(o *podWrites) { o.Wrote("k", version("a", 7, 1)); o.Forget("k") }, "6", nil, "", 0},
		{"asked for", func(o *podWrites) { o.Asked("k", version("a", 3, 1)) }, "6", list(version("a", 3, 0)), "a@3=1", 1},
		{"asked for, somebody else writes", func(o *podWrites) { o.Asked("k", version("a", 3, 1)) }, "8", list(version("a", 8, 0)), "a@3=1", 1},
		{"asked for and shown", func(o *podWrites) { o.Asked("k", version("a", 3, 1)) }, "8", list(version("a", 8, 1)), "a@8=1", 0},
		{"asked for and answered", func(o *podWrites) { o.Asked("k", version("a", 3, 1)); o.Wrote("k", version("a", 7, 1)) }, "6",
			list(version("a", 3, 0)), "a@7=1", 1},
		{"asked for and refused", func(o *podWrites) { o.Asked("k", version("a", 3, 1)); o.Withdraw("k", "a") }, "6",
			list(version("a", 3, 0)), "a@3=0", 0},
		{"refused after another write", func(o *podWrites) {
			o.Wrote("k", version("a", 5, 1))
			o.Asked("k", version("a", 5, 2))
			o.Withdraw("k", "a")
		}, "4", list(version("a", 3, 0)), "a@5=1", 1},
		{"asked for, and it is gone", func(o *podWrites) { o.Asked("k", version("a", 3, 1)) }, "8", list(version("b", 8, 0)), "b@8=0", 0},
	} {
		o := podWrites{Shows: granted}
		test.writes(&o)
		if got := text(o.View("k", test.at, test.cached)); got != test.want {
			t.Errorf("%s: view %q, want %q", test.name, got, test.want)
		}
		if left := len(o.owners["k"]); left != test.left {
			t.Errorf("%s: %d objects are remembered, want %d", test.name, left, test.left)
		}
	}
}

// Who takes a write back learns whether the cache has shown it meanwhile: then it has happened, whatever the error said.
func TestWithdrawAfterTheCacheHasShownIt(t *testing.T) {
	o := podWrites{Shows: granted}
	o.Asked("k", version("a", 3, 1))
	if _, repeat := o.Unanswered("k", "a"); repeat {
		t.Error("to be repeated while it is under way")
	}
	if !o.NoAnswer("k", "a") {
		t.Error("the answer does not matter, and nothing shows the write")
	}
	if asked, repeat := o.Unanswered("k", "a"); !repeat || *asked.Spec.Priority != 1 {
		t.Errorf("to be repeated: %t, as %v", repeat, asked)
	}
	o.View("k", "8", []*corev1.Pod{version("a", 8, 1)})
	if _, open := o.Unanswered("k", "a"); open {
		t.Error("unanswered, although the cache shows it")
	}
	if o.NoAnswer("k", "a") || o.Withdraw("k", "a") {
		t.Error("taken back, although the cache shows it")
	}
	o.Asked("k", version("a", 8, 2))
	if !o.Withdraw("k", "a") || o.Withdraw("k", "a") {
		t.Error("not taken back once")
	}
	if len(o.owners) > 0 {
		t.Errorf("remembers %v", o.owners)
	}
}

func TestRefused(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{apierrors.NewNotFound(pods, "p"), true},
		{fmt.Errorf("pod p: %w", apierrors.NewConflict(pods, "p", errors.New("changed"))), true},
		{apierrors.NewForbidden(pods, "p", errors.New("no")), true},
		{apierrors.NewTooManyRequests("later", 1), true},
		{apierrors.NewTimeoutError("slow", 1), false},
		{apierrors.NewServerTimeout(pods, "update", 1), false},
		{apierrors.NewInternalError(errors.New("the store has not answered")), false},
		{context.DeadlineExceeded, false},
		{errors.New("connection reset by peer"), false},
	} {
		if got := Refused(test.err); got != test.want {
			t.Errorf("%v: refused %t, want %t", test.err, got, test.want)
		}
	}
}

// Events come before the answer to a write, or after a sync that has seen it in the cache.
func TestE33_WhoHasChangedAnObject(t *testing.T) {
	type step func(o *podWrites)
	wrote := func(v int) step { return func(o *podWrites) { o.Wrote("k", version("a", v, 0)) } }
	event := func(v int) step { return func(o *podWrites) { o.Changed("k", version("a", v, 0)) } }
	lost := func(o *podWrites) { o.Lost("k", version("a", 4, 0)) }
	deleted := func(o *podWrites) { o.Deleted("k", "a", time.Unix(1, 0)) }
	look := func(o *podWrites, v int) (bool, bool) {
		var cached []*corev1.Pod
		if v > 0 {
			cached = append(cached, version("a", v, 0))
		}
		o.View("k", "9", cached)
		return o.Edited("k", cached)
	}
	sync := func(v int) step { return func(o *podWrites) { look(o, v) } }
	for _, test := range []struct {
		name             string
		before           []step
		version          int // in the cache; 0: none
		changed, deleted bool
		left             int
	}{
		{"nothing is known", nil, 5, false, false, 0},
		{"the event of an own write", []step{wrote(5), event(5)}, 5, false, false, 0},
		{"the event before the answer", []step{event(5), wrote(5)}, 5, false, false, 0},
		{"the event still to come", []step{wrote(5)}, 5, false, false, 1},
		{"the event after a sync", []step{wrote(5), sync(5), event(5)}, 5, false, false, 0},
		{"the event after two syncs", []step{wrote(5), sync(5), sync(5), event(5)}, 5, false, false, 0},
		{"the cache shows an earlier write", []step{wrote(5), wrote(8), event(5)}, 5, false, false, 1},
		{"and then the later one", []step{wrote(5), wrote(8), event(5), sync(5), event(8)}, 8, false, false, 0},
		{"and then somebody else's", []step{wrote(5), wrote(8), event(5), sync(5), event(8), event(9)}, 9, true, false, 0},
		{"the cache is behind", []step{event(4), sync(4), wrote(5)}, 4, false, false, 1},
		{"somebody else's", []step{wrote(5), event(5), event(6)}, 6, true, false, 0},
		{"somebody else's, told once", []step{event(6), sync(6)}, 6, false, false, 0},
		{"somebody else's after a late event", []step{wrote(5), sync(5), event(5), event(6)}, 6, true, false, 0},
		{"deleted", []step{wrote(5), event(5), lost}, 0, false, true, 0},
		{"deleted after a sync", []step{wrote(5), sync(5), lost}, 0, false, true, 0},
		{"deleted, told once", []step{lost, sync(0)}, 0, false, false, 0},
		{"deleted by itself", []step{deleted, lost}, 0, false, false, 0},
		{"deleted by itself, the event before the answer", []step{lost, deleted}, 0, false, false, 0},
		{"deleted by itself, the event after a sync", []step{deleted, sync(0), lost}, 0, false, false, 0},
	} {
		o := podWrites{Edits: true}
		for _, f := range test.before {
			f(&o)
		}
		changed, deleted := look(&o, test.version)
		if changed != test.changed || deleted != test.deleted || len(o.owners["k"]) != test.left {
			t.Errorf("%s: changed %t, deleted %t, %d objects left; want %t, %t, %d",
				test.name, changed, deleted, len(o.owners["k"]), test.changed, test.deleted, test.left)
		}
	}
}

// history is a server with a cache that follows it late. Its writers are the owner of an OwnWrites and others.
type history struct {
	t      *testing.T
	rand   *rand.Rand
	own    *podWrites
	log    []entry // one a version, from 1
	cached int     // how much of the log the cache shows
	flying []func()
	uids   int
	acked  map[types.UID]int // the newest own version that was answered
	asked  map[types.UID]int // the greatest wish without a refusal
	doomed map[types.UID]bool
}

// entry is an object as a version left it; gone: the version removed it.
type entry struct {
	pod  *corev1.Pod
	gone bool
}

// state is the objects after n entries.
func (h *history) state(n int) map[types.UID]*corev1.Pod {
	pods := map[types.UID]*corev1.Pod{}
	for _, e := range h.log[:n] {
		if e.gone {
			delete(pods, e.pod.UID)
		} else {
			pods[e.pod.UID] = e.pod
		}
	}
	return pods
}

func (h *history) any(pods map[types.UID]*corev1.Pod) *corev1.Pod {
	if len(pods) == 0 {
		return nil
	}
	uids := make([]types.UID, 0, len(pods))
	for uid := range pods {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return pods[uids[h.rand.IntN(len(uids))]]
}

// commit writes a pod; nil when it is not there any more.
func (h *history) commit(p *corev1.Pod, create bool, change func(*corev1.Pod)) *corev1.Pod {
	if now := h.state(len(h.log))[p.UID]; now != nil {
		p = now
	} else if !create {
		return nil
	}
	p = p.DeepCopy()
	p.ResourceVersion = strconv.Itoa(len(h.log) + 1)
	change(p)
	h.log = append(h.log, entry{pod: p})
	return p
}

func (h *history) remove(p *corev1.Pod, graceful bool) {
	if graceful {
		h.commit(p, false, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} })
	} else if h.state(len(h.log))[p.UID] != nil {
		h.log = append(h.log, entry{pod: p, gone: true})
	}
}

// ask is an own write whose answer may be lost, or late.
func (h *history) ask(view map[types.UID]*corev1.Pod) {
	p := h.any(view)
	if p == nil || h.state(h.cached)[p.UID] == nil {
		return
	}
	wish := h.rand.IntN(1000)
	if again, repeat := h.own.Unanswered("k", p.UID); repeat {
		wish = int(*again.Spec.Priority)
	}
	wish = max(wish, int(*p.Spec.Priority))
	asked := p.DeepCopy()
	asked.Spec.Priority = new(int32(wish))
	h.own.Asked("k", asked)
	h.asked[p.UID] = max(h.asked[p.UID], wish)
	write := func() *corev1.Pod {
		return h.commit(asked, false, func(p *corev1.Pod) { p.Spec.Priority = new(max(*p.Spec.Priority, int32(wish))) })
	}
	switch h.rand.IntN(4) {
	case 0: // answered
		if got := write(); got != nil {
			h.own.Wrote("k", got)
			h.acked[p.UID] = len(h.log)
		}
	case 1: // refused: of all that was asked for only this one is known not to happen
		if h.own.Withdraw("k", p.UID); len(h.flying) > 0 {
			h.own.Asked("k", asked)
			h.own.NoAnswer("k", p.UID)
			return
		}
		h.asked[p.UID] = 0
	case 2: // it happens, sometime
		h.flying = append(h.flying, func() { write() })
		h.own.NoAnswer("k", p.UID)
	case 3: // it never does, and is repeated
		h.own.NoAnswer("k", p.UID)
	}
}

// step lets something random happen, and looks.
func (h *history) step() {
	view := h.look()
	switch p := h.any(h.state(len(h.log))); h.rand.IntN(12) {
	case 0, 1: // an own create
		h.uids++
		got := h.commit(version(types.UID(fmt.Sprint("u", h.uids)), 0, 0), true, func(*corev1.Pod) {})
		h.own.Wrote("k", got)
		h.acked[got.UID] = len(h.log)
	case 2: // an own deletion
		if p := h.any(view); p != nil {
			h.remove(p, h.rand.IntN(2) == 0)
			h.own.Deleted("k", p.UID, time.Unix(1, 0))
			h.doomed[p.UID] = true
		}
	case 3, 4:
		h.ask(view)
	case 5: // somebody else makes one
		h.uids++
		h.commit(version(types.UID(fmt.Sprint("u", h.uids)), 0, 0), true, func(*corev1.Pod) {})
	case 6:
		if p != nil {
			h.commit(p, false, func(p *corev1.Pod) { p.Labels = map[string]string{"by": "another"} })
		}
	case 7:
		if p != nil {
			h.remove(p, h.rand.IntN(2) == 0)
		}
	case 8:
		if len(h.flying) > 0 {
			h.flying[0]()
			h.flying = h.flying[1:]
		}
	case 9, 10:
		h.cached = min(len(h.log), h.cached+h.rand.IntN(4))
	case 11:
		if h.rand.IntN(20) == 0 { // the process starts again
			h.own = &podWrites{Shows: granted}
			h.acked, h.asked, h.doomed = map[types.UID]int{}, map[types.UID]int{}, map[types.UID]bool{}
		}
	}
}

// look checks the view against what has happened.
func (h *history) look() map[types.UID]*corev1.Pod {
	shown := h.state(h.cached)
	cached := make([]*corev1.Pod, 0, len(shown))
	for _, p := range shown {
		cached = append(cached, p)
	}
	view := map[types.UID]*corev1.Pod{}
	for _, p := range h.own.View("k", strconv.Itoa(h.cached), cached) {
		if view[p.UID] != nil {
			h.t.Fatalf("%s is twice in the view", p.UID)
		}
		view[p.UID] = p
	}
	for uid, p := range view {
		at, _ := strconv.Atoi(p.ResourceVersion)
		switch {
		case shown[uid] == nil && h.acked[uid] <= h.cached:
			h.t.Fatalf("%s is in the view at %d: the cache has seen it go", uid, h.cached)
		case at < h.acked[uid] && int(*p.Spec.Priority) < h.asked[uid]:
			h.t.Fatalf("%s is shown at %d, %d was written", uid, at, h.acked[uid])
		case int(*p.Spec.Priority) < h.asked[uid] && shown[uid] != nil:
			h.t.Fatalf("%s is shown with %d, %d was asked for", uid, *p.Spec.Priority, h.asked[uid])
		case h.doomed[uid] && p.DeletionTimestamp == nil:
			h.t.Fatalf("%s is shown whole, it was deleted", uid)
		}
	}
	for uid, n := range h.acked {
		if view[uid] == nil && n > h.cached {
			h.t.Fatalf("%s was written at %d, the cache is at %d, and the view lacks it", uid, n, h.cached)
		}
	}
	for uid := range shown {
		if view[uid] == nil {
			h.t.Fatalf("%s is in the cache and not in the view", uid)
		}
	}
	return view
}

// TestOwnWritesProperty: whatever others write, however late the cache is, and whatever becomes of writes without an answer, a
// view has every own write, nothing that is known to be gone, and the cache's word when that is newer; and when the cache has
// caught up and nothing is open, nothing is remembered.
func TestOwnWritesProperty(t *testing.T) {
	for seed := range uint64(150) {
		h := &history{t: t, rand: rand.New(rand.NewPCG(seed, 1)), own: &podWrites{Shows: granted},
			acked: map[types.UID]int{}, asked: map[types.UID]int{}, doomed: map[types.UID]bool{}}
		for range 200 {
			h.step()
		}
		for _, land := range h.flying {
			land()
		}
		for uid := range h.asked { // what is open is repeated until it is answered
			if asked, repeat := h.own.Unanswered("k", uid); repeat {
				if got := h.commit(asked, false, func(p *corev1.Pod) { p.Spec.Priority = asked.Spec.Priority }); got != nil {
					h.own.Wrote("k", got)
					h.acked[uid] = len(h.log)
				}
			}
		}
		h.cached = len(h.log)
		view := h.look()
		for uid, p := range h.state(len(h.log)) {
			if view[uid] != p {
				t.Fatalf("seed %d: the view of a cache that shows everything has %v, the server %v", seed, view[uid], p)
			}
		}
		if len(h.own.owners) != 0 {
			t.Fatalf("seed %d: the cache shows everything, and %d objects are remembered", seed, len(h.own.owners["k"]))
		}
	}
}
