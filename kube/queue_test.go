package kube

import (
	"context"
	"log/slog"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// As many workers as are allowed look at keys at once, whether these come together or each while all before are being looked at; with
// nothing to do a single one waits.
func TestWorkersComeWithKeys(t *testing.T) {
	const workers = 5
	ctx, end := context.WithCancel(t.Context())
	q := NewQueue[int]("crew", time.Second, slog.New(slog.DiscardHandler))
	begun, proceed := make(chan int), make(chan struct{})
	var over sync.WaitGroup
	over.Go(func() {
		q.Work(ctx, workers, func(_ context.Context, key int) (time.Duration, error) {
			begun <- key
			<-proceed
			return 0, nil
		})
	})
	for round := range 50 {
		for key := range workers + 2 { // two find no worker
			q.Add(key)
			if round%2 == 0 && key < workers {
				<-begun
			}
		}
		if round%2 == 1 {
			for range workers {
				<-begun
			}
		}
		select {
		case key := <-begun:
			t.Fatalf("key %d is looked at by one worker too many", key)
		default:
		}
		for range workers {
			proceed <- struct{}{}
		}
		for range 2 {
			<-begun
			proceed <- struct{}{}
		}
	}
	idle := func() int { return running(t, "kube.(*Queue[...]).Work.func2(") }
	for n := idle(); n != 1; n = idle() { // the last ones are on their way out
		if n == 0 || t.Context().Err() != nil {
			t.Fatalf("%d workers wait", n)
		}
	}
	end()
	over.Wait()
	if n := idle(); n != 0 {
		t.Errorf("%d workers are left", n)
	}
}

// running is how many goroutines are in a function.
func running(t *testing.T, function string) int {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(stacks.String(), function)
}

// A recorder that has posted nothing has no goroutine, and what it posts arrives.
func TestARecorderBeginsWithItsFirstEvent(t *testing.T) {
	const loop = "watch.(*Broadcaster).loop("
	before := running(t, loop)
	client := fake.NewClientset()
	r := Recorder(t.Context(), client, corev1.EventSource{Component: "test"})
	if n := running(t, loop); n != before {
		t.Errorf("%d broadcasters run, %d before", n, before)
	}
	posted := make(chan string, 1)
	client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		event := a.(clienttesting.CreateAction).GetObject().(*corev1.Event)
		posted <- event.Source.Component + " " + event.Reason + " " + event.Message
		return true, event, nil
	})
	r.Eventf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}}, corev1.EventTypeNormal, "Why", "%d", 7)
	select {
	case got := <-posted:
		if got != "test Why 7" {
			t.Error(got)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is posted")
	}
}
