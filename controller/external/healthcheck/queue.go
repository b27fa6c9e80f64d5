package healthcheck

import (
	"container/heap"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// scheduled is a probe and when it is due. It is void when the target's state names another time.
type scheduled struct {
	due    time.Time
	svc    types.NamespacedName
	target netip.AddrPort
}

// queue is the probes of all Services that are to be made, the earliest first.
type queue struct{ heap byDue }

func (q *queue) add(x scheduled) { heap.Push(&q.heap, x) }

// next is when the earliest is due.
func (q *queue) next() (time.Time, bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return q.heap[0].due, true
}

// take removes the earliest if it is due.
func (q *queue) take(now time.Time) (scheduled, bool) {
	if len(q.heap) == 0 || q.heap[0].due.After(now) {
		return scheduled{}, false
	}
	return heap.Pop(&q.heap).(scheduled), true
}

type byDue []scheduled

func (a byDue) Len() int           { return len(a) }
func (a byDue) Less(i, j int) bool { return a[i].due.Before(a[j].due) }
func (a byDue) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *byDue) Push(x any)        { *a = append(*a, x.(scheduled)) }
func (a *byDue) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}
