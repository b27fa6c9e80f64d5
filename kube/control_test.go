package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	memory "k8s.io/client-go/tools/cache/testing"
)

// worked runs a queue until look has ended it, and returns its log.
func worked(t *testing.T, workers int, keys []string, look func(end func(), key string) (time.Duration, error)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	q := NewQueue[string]("test", 20*time.Millisecond, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for _, key := range keys {
		q.Add(key)
	}
	ended := false
	q.Work(ctx, workers, func(_ context.Context, key string) (time.Duration, error) {
		return look(func() { ended = true; cancel() }, key)
	})
	if !ended {
		t.Error("the work was not done in a minute")
	}
	return log.String()
}

func TestWhatFailsComesBack(t *testing.T) {
	failures := []error{
		errors.New("no luck"),
		fmt.Errorf("pod p: %w", apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "p", errors.New("changed"))),
		apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, "p"),
		fmt.Errorf("%w for the cache", ErrWaiting),
	}
	tries := 0
	log := worked(t, 1, []string{"default/p"}, func(end func(), key string) (time.Duration, error) {
		if tries++; tries > len(failures) {
			end()
			return 0, nil
		}
		return 0, failures[tries-1]
	})
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != len(failures) {
		t.Fatalf("%d failures, the log says:\n%s", len(failures), log)
	}
	for i, line := range lines {
		level := "DEBUG"
		if i == 0 {
			level = "WARN"
		}
		for _, part := range []string{"level=" + level, "queue=test", "object=default/p", fmt.Sprint("tries=", i+1), fmt.Sprintf("err=%q", failures[i])} {
			if !strings.Contains(line, part) {
				t.Errorf("%q is not in %s", part, line)
			}
		}
	}
}

// The pause of Kubernetes' controllers (rule E36), up to a limit of the queue's own.
func TestE36_PausesGrow(t *testing.T) {
	pauses := limiter[string](100 * time.Second)
	for _, want := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		if got := pauses.When("a"); got != want {
			t.Errorf("paused for %s, want %s", got, want)
		}
	}
	last := time.Duration(0)
	for range 40 {
		last = pauses.When("a")
	}
	if last != 100*time.Second {
		t.Errorf("after many failures: again after %s", last)
	}
}

func TestWhatIsAskedForIsLookedAtAgain(t *testing.T) {
	looks := 0
	log := worked(t, 1, []string{"a"}, func(end func(), _ string) (time.Duration, error) {
		if looks++; looks == 3 {
			end()
		}
		return time.Millisecond, nil
	})
	if log != "" {
		t.Errorf("nothing failed, and the log says: %s", log)
	}
}

func TestOneKeyHasOneWorker(t *testing.T) {
	var busy, looks atomic.Int32
	worked(t, 8, []string{"a"}, func(end func(), _ string) (time.Duration, error) {
		if busy.Add(1) > 1 {
			t.Error("two workers have the same key")
		}
		defer busy.Add(-1)
		if looks.Add(1) == 50 {
			end()
		}
		return 1, nil // it is due before this look is over
	})
}

func TestWatch(t *testing.T) {
	source := memory.NewFakeControllerSource()
	informer := cache.NewSharedInformer(source, &corev1.Pod{}, 0)
	pod := func(labels ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", Labels: map[string]string{}}}
		for _, l := range labels {
			p.Labels[l] = ""
		}
		return p
	}
	source.Add(pod())
	told := make(chan string, 10)
	listed := Watch(informer, func(before, after *corev1.Pod, first bool) {
		var texts []string
		for _, p := range Versions(before, after) {
			texts = append(texts, fmt.Sprint(Key(p), " ", len(p.Labels)))
		}
		told <- fmt.Sprint(before == nil, " ", after == nil, " ", first, " ", texts)
	})
	go informer.RunWithContext(t.Context())
	if !cache.WaitFor(t.Context(), "", listed) {
		t.Fatal("the first list did not come")
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not told of %s", want)
		}
	}
	next("true false true [default/p 0]")
	source.Modify(pod("a"))
	next("false false false [default/p 0 default/p 1]")
	if p := Cached[corev1.Pod](informer, types.NamespacedName{Namespace: "default", Name: "p"}); p == nil || len(p.Labels) != 1 {
		t.Errorf("the cache has %v", p)
	}
	source.Delete(pod("a"))
	next("false true false [default/p 1]")
	if p := Cached[corev1.Pod](informer, types.NamespacedName{Namespace: "default", Name: "p"}); p != nil {
		t.Errorf("the cache still has %v", p)
	}
}

// A watch that was interrupted tells of an object that went away meanwhile by its last known version, and repeats versions that
// were told before (rule E14).
func TestE14_AfterAnInterruption(t *testing.T) {
	var told []string
	h := handler(func(before, after *corev1.Node, _ bool) {
		told = append(told, fmt.Sprint(before.Name, " ", after == nil))
	})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "7"}}
	h.OnUpdate(node, node.DeepCopy())
	if len(told) > 0 {
		t.Errorf("a repeated version: %v", told)
	}
	h.OnDelete(cache.DeletedFinalStateUnknown{Key: "n", Obj: node})
	if got := strings.Join(told, ", "); got != "n true" {
		t.Errorf("told %q", got)
	}
}
