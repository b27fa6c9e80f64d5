package kube

import (
	"cmp"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// A queue with an order gives what is first by it, and of equal ones the one that came first; a key that is added twice is there once.
func TestOrderedQueue(t *testing.T) {
	q := NewOrderedQueue("ordered", time.Second, func(a, b string) int { return cmp.Compare(a[0], b[0]) }, slog.New(slog.DiscardHandler))
	for _, key := range []string{"b1", "c1", "a2", "b2", "a1", "b1"} {
		q.Add(key)
	}
	var got []string
	for q.Len() > 0 {
		key, _ := q.Get()
		got = append(got, key)
		q.Done(key)
	}
	if want := []string{"a2", "a1", "b1", "b2", "c1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	q.ShutDown()
}
