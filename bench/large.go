package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// largePart is measured on a growing crowd of Services.
type largePart struct {
	name string
	at   func(i, last int) bool // at which of the sizes
	run  func(*crowd, context.Context, int) ([]row, error)
}

func large() []largePart {
	always := func(int, int) bool { return true }
	crowded := func(i, last int) bool { return i > 0 || last == 0 }
	atEnd := func(i, last int) bool { return i == last }
	return []largePart{
		{"hops", always, (*crowd).hops},
		{"flap", crowded, (*crowd).flap},
		{"create", func(int, int) bool { return false }, nil}, // growing is measured by itself
		{"memory", func(i, last int) bool { return i == 0 || i == last }, (*crowd).memory},
		{"path", func(i, last int) bool { return i == 0 || i == last }, (*crowd).path},
		{"restart", atEnd, (*crowd).restart},
	}
}

func measureLarge(ctx context.Context, o options) (rows []row, err error) {
	if !slices.ContainsFunc(large(), func(p largePart) bool { return o.wants(p.name) }) {
		return nil, nil
	}
	c, err := newCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.down(context.WithoutCancel(ctx))
	w, err := newCrowd(ctx, c)
	if err != nil {
		return nil, err
	}
	defer close(w.ended)
	for i, size := range o.sizes {
		more, err := w.stage(ctx, o, i, size)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// stage grows the crowd to the i-th size and measures there what is wanted.
func (w *crowd) stage(ctx context.Context, o options, i, size int) (rows []row, err error) {
	g, err := w.grow(ctx, size)
	if err != nil {
		return nil, err
	}
	if o.wants("create") && g.objects > 0 {
		created, err := w.created(ctx, size, g)
		if err != nil {
			return nil, err
		}
		rows = append(rows, created)
	}
	for _, p := range large() {
		if !o.wants(p.name) || !p.at(i, len(o.sizes)-1) {
			continue
		}
		progress("%s at %d Services", p.name, size)
		more, err := p.run(w, ctx, o.runs)
		if err != nil {
			return rows, fmt.Errorf("%s at %d Services: %w", p.name, size, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// memory measures what the program's processes hold, a while after the last change.
func (w *crowd) memory(_ context.Context, _ int) ([]row, error) {
	time.Sleep(10 * time.Second)
	rss, _ := w.program()
	if w.rss == 0 {
		w.rss = rss
		return nil, nil
	}
	each := float64(rss-w.rss) / float64(1<<20) / (float64(w.services) / 1000)
	return []row{{
		fmt.Sprintf("memory (RSS) of the program with %s Services", thousands(w.services)),
		fmt.Sprintf("%d MB, %.1f MB for 1 000 Services", rss>>20, each), fmt.Sprintf("with few: %d MB", w.rss>>20), "-",
	}}, nil
}
