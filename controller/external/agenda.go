package external

import (
	"container/heap"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// appointment is a try that is due. It is void when the finding names another time.
type appointment struct {
	due time.Time
	svc types.NamespacedName
	to  netip.AddrPort
}

// agenda is all appointments, the earliest first.
type agenda struct{ heap appointments }

func (a *agenda) add(x appointment) { heap.Push(&a.heap, x) }

// next is when the earliest appointment is due.
func (a *agenda) next() (time.Time, bool) {
	if len(a.heap) == 0 {
		return time.Time{}, false
	}
	return a.heap[0].due, true
}

// take removes the earliest appointment if it is due.
func (a *agenda) take(now time.Time) (appointment, bool) {
	if len(a.heap) == 0 || a.heap[0].due.After(now) {
		return appointment{}, false
	}
	return heap.Pop(&a.heap).(appointment), true
}

type appointments []appointment

func (a appointments) Len() int           { return len(a) }
func (a appointments) Less(i, j int) bool { return a[i].due.Before(a[j].due) }
func (a appointments) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *appointments) Push(x any)        { *a = append(*a, x.(appointment)) }
func (a *appointments) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}
