package kube

import (
	"container/heap"
	"log/slog"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// NewOrderedQueue returns an empty queue that gives the key before which no other one is by order (negative: a is before b), of those
// the one that came first.
func NewOrderedQueue[K comparable](name string, lastRetry time.Duration, order func(a, b K) int, log *slog.Logger) *Queue[K] {
	return &Queue[K]{
		TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueueWithConfig(limiter[K](lastRetry), workqueue.TypedRateLimitingQueueConfig[K]{
			Name: name,
			DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[K]{
				Name:  name,
				Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[K]{Name: name, Queue: &line[K]{order: order}}),
			}),
		}),
		log: log.With("queue", name),
	}
}

// line is client-go's storage of a queue, in order.
type line[K comparable] struct {
	order func(a, b K) int
	last  uint64
	all   places[K]
}

// place is a key and when it came.
type place[K comparable] struct {
	key    K
	number uint64
	order  func(a, b K) int
}

func (*line[K]) Touch(K) {}

func (l *line[K]) Push(key K) {
	l.last++
	heap.Push(&l.all, place[K]{key, l.last, l.order})
}

func (l *line[K]) Len() int { return len(l.all) }

func (l *line[K]) Pop() K { return heap.Pop(&l.all).(place[K]).key }

// places is a heap.
type places[K comparable] []place[K]

func (p places[K]) Len() int      { return len(p) }
func (p places[K]) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p places[K]) Less(i, j int) bool {
	if by := p[i].order(p[i].key, p[j].key); by != 0 {
		return by < 0
	}
	return p[i].number < p[j].number
}
func (p *places[K]) Push(x any) { *p = append(*p, x.(place[K])) }
func (p *places[K]) Pop() any {
	last := len(*p) - 1
	out := (*p)[last]
	*p = (*p)[:last]
	return out
}
