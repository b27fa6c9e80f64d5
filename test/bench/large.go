package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// largePart is measured on a growing crowd of Services.
type largePart struct {
	part[*crowd]
	at func(i, last int) bool // at which of the sizes
}

// large are the parts that need many Services, in an order that suits them. Growing is measured by itself.
func large() []largePart {
	always := func(int, int) bool { return true }
	crowded := func(i, last int) bool { return i > 0 || last == 0 }
	ends := func(i, last int) bool { return i == 0 || i == last }
	atEnd := func(i, last int) bool { return i == last }
	return []largePart{
		{part[*crowd]{"hops", 3 * time.Minute, (*crowd).hops}, always},
		{part[*crowd]{"flap", 3 * time.Minute, (*crowd).flap}, crowded},
		{part[*crowd]{"memory", time.Minute, (*crowd).memory}, ends},
		{part[*crowd]{"path", 5 * time.Minute, (*crowd).path}, ends},
		{part[*crowd]{"restart", 3 * time.Minute, (*crowd).restart}, atEnd},
	}
}

// growthLimit is how long creating the Services of one size may take.
const growthLimit = 10 * time.Minute

func measureLarge(ctx context.Context, o options, r *results) {
	wanted := slices.DeleteFunc(large(), func(p largePart) bool { return !o.wants(p.name) })
	if len(wanted) == 0 && !o.wants("create") || ctx.Err() != nil {
		return
	}
	blamed := "create" // for what is needed by all
	if !o.wants(blamed) {
		blamed = wanted[0].name
	}
	c, err := newCluster(ctx, o)
	if err != nil {
		r.fail(blamed, fmt.Errorf("start a cluster: %w", err))
		return
	}
	defer c.down(context.WithoutCancel(ctx))
	w, err := newCrowd(ctx, c)
	if err != nil {
		r.fail(blamed, fmt.Errorf("play a node: %w", err))
		return
	}
	defer close(w.ended)
	sizes := o.sizesOr(10, 5000, 50000)
	for i, size := range sizes {
		at := " at " + thousands(size) + " Services"
		r.take(ctx, blamed, "create"+at, growthLimit, func(ctx context.Context) ([]row, error) { return w.grown(ctx, size, o.wants("create")) })
		if w.services < size {
			return // what follows would not be what it says
		}
		for _, p := range wanted {
			if p.at(i, len(sizes)-1) {
				r.take(ctx, p.name, p.name+at, p.limit, func(ctx context.Context) ([]row, error) { return p.run(w, ctx, o.runs) })
			}
		}
	}
}

// memory measures what the program's processes hold, a while after the last change.
func (w *crowd) memory(_ context.Context, _ int) ([]row, error) {
	time.Sleep(10 * time.Second)
	rss, _ := w.program()
	r := row{what: fmt.Sprintf("memory (RSS) of the program with %s Services", thousands(w.services)), figure: fmt.Sprintf("%d MB", rss>>20), baseline: "-"}
	if w.rss == 0 {
		w.rss, w.few = rss, w.services
		return []row{r}, nil
	}
	if more := w.services - w.few; more >= 1000 {
		r.figure += fmt.Sprintf(", %.1f MB for 1 000 Services", float64(rss-w.rss)/(1<<20)/float64(more)*1000)
	}
	r.baseline = fmt.Sprintf("with %s: %d MB", thousands(w.few), w.rss>>20)
	return []row{r}, nil
}
