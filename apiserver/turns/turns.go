// Package turns lets few of those who want a scarce thing at once have it, and the others wait in a fair line: each flow has its
// own line, and the flows take turns, so that a crowd that asks for one thing delays another flow by one turn and not by all of its own.
package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrFull says that too many wait already.
var ErrFull = errors.New("too many wait already")

// Turns are a number of turns that can be had at once.
type Turns struct {
	line int // how many may wait

	mu      sync.Mutex // guards below
	free    int
	waiting int
	flows   []*flow // those in which somebody waits, the one whose turn is next first
}

type flow struct {
	name string
	line []chan struct{} // closed when it has its turn, the longest waiting first
}

// New returns so many turns, for which at most line wait.
func New(turns, line int) *Turns { return &Turns{free: turns, line: line} }

// Take waits for a turn in the name of a flow. Give it back by calling done, once or more often.
func (t *Turns) Take(ctx context.Context, name string) (done func(), err error) {
	mine, err := t.join(name)
	if err != nil {
		return nil, err
	}
	select {
	case <-mine:
	case <-ctx.Done():
		if t.leave(name, mine) {
			return nil, context.Cause(ctx)
		}
		t.give() // it came in the same moment
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(t.give), nil
}

// join takes a turn that is free, or a place in the flow's line.
func (t *Turns) join(name string) (chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := make(chan struct{})
	if t.free > 0 {
		t.free--
		close(mine)
		return mine, nil
	}
	if t.waiting >= t.line {
		return nil, ErrFull
	}
	t.waiting++
	if i := t.find(name); i >= 0 {
		t.flows[i].line = append(t.flows[i].line, mine)
	} else {
		t.flows = append(t.flows, &flow{name, []chan struct{}{mine}})
	}
	return mine, nil
}

// leave gives up a place in the line; false means that its turn has come already.
func (t *Turns) leave(name string, mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.find(name)
	if i < 0 {
		return false
	}
	f := t.flows[i]
	place := slices.Index(f.line, mine)
	if place < 0 {
		return false
	}
	t.waiting--
	if f.line = slices.Delete(f.line, place, place+1); len(f.line) == 0 {
		t.flows = slices.Delete(t.flows, i, i+1)
	}
	return true
}

// give hands a turn to the flow that is next, which then is the last.
func (t *Turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.flows) == 0 {
		t.free++
		return
	}
	f := t.flows[0]
	t.flows = slices.Delete(t.flows, 0, 1)
	close(f.line[0])
	t.waiting--
	if f.line = f.line[1:]; len(f.line) > 0 {
		t.flows = append(t.flows, f)
	}
}

func (t *Turns) find(name string) int {
	return slices.IndexFunc(t.flows, func(f *flow) bool { return f.name == name })
}
