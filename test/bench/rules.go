package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// size is what one child process measures.
type size struct {
	Kind                kind
	Services, Endpoints int // endpoints of each
	Changes             int // how often each kind of change is made and undone
	Group               string
}

// kind is who has the rules.
type kind string

const (
	ours  kind = "fairlead"
	shape kind = "kube-proxy's shape"
)

// measured is what a child process reports. What its kind has not is zero.
type measured struct {
	Whole, Load  time.Duration // from the first object handed over, and from the first look at them, to the commit
	CPU          time.Duration
	Kernel       int // bytes that the kernel holds for the rules
	Peak         int // resident bytes of the process, at most
	Objects      int // bytes of its heap: the Services and slices
	Books        int // bytes of its heap: what it keeps to find differences
	Change, Step []time.Duration
	Notice       []time.Duration // of a change: from the object to the kernel's notice
	All          time.Duration   // an endpoint less for every Service
	Rewrites     int
}

func (s size) measure(ctx context.Context) (measured, error) {
	if err := (memoryGroup{s.Group}).join(); err != nil {
		return measured{}, err
	}
	if s.Kind == shape {
		return s.measureShape()
	}
	return s.measureProxy(ctx)
}

// measureShape loads a ruleset of kube-proxy's shape and changes single Services in it.
func (s size) measureShape() (m measured, err error) {
	dir, err := os.MkdirTemp("", "fairlead-bench-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	file, group := filepath.Join(dir, "rules.nft"), memoryGroup{s.Group}
	read := func(text string) (time.Duration, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return 0, err
		}
		start := time.Now()
		err := nftLoad(file)
		return time.Since(start), err
	}
	all := make([]shaped, s.Services)
	for i := range all {
		all[i] = shapedService(i, endpointAddrs(i*(s.Endpoints+step), s.Endpoints))
	}
	before, err := group.kernel()
	if err != nil {
		return m, err
	}
	if m.Load, err = read(kubeProxyRules(all)); err != nil {
		return m, err
	}
	m.CPU = usedBy(unix.RUSAGE_CHILDREN)
	time.Sleep(time.Second) // the kernel frees what only the transaction needed
	after, err := group.kernel()
	m.Kernel = after - before
	for round := range s.Changes {
		i := round * 7919 % s.Services
		for j, n := range []int{s.Endpoints - 1, s.Endpoints, s.Endpoints + step, s.Endpoints} {
			changed := shapedService(i, endpointAddrs(i*(s.Endpoints+step), n))
			took, failed := read("flush chain ip kube-proxy " + changed.chain() + "\n" + changed.rule())
			err = errors.Join(err, failed)
			if j < 2 {
				m.Change = append(m.Change, took)
			} else {
				m.Step = append(m.Step, took)
			}
		}
	}
	return m, err
}

// rules measures the way from objects to the kernel's rules alone, without API server and agents.
func (o options) rules(ctx context.Context, runs int) (rows []row, err error) {
	for _, endpoints := range []int{2, 30} {
		t := rulesTable{endpoints: endpoints}
		for _, services := range o.sizesOr(1000, 10000, 50000) {
			s := size{Kind: ours, Services: services, Endpoints: endpoints, Changes: 100 * runs}
			progress("rules: %s Services x %d endpoints", thousands(services), endpoints)
			m, failed := s.inChild(ctx)
			err = errors.Join(err, failed)
			base := measured{}
			if services <= mostShaped {
				progress("rules: the same in kube-proxy's shape")
				s.Kind, s.Changes = shape, 4*runs
				base, failed = s.inChild(ctx)
				err = errors.Join(err, failed)
			}
			t.services, t.ours, t.shape = append(t.services, services), append(t.ours, m), append(t.shape, base)
		}
		rows = append(rows, t.rows()...)
	}
	return rows, err
}

// rulesTable has the figures of one number of endpoints, by number of Services.
type rulesTable struct {
	endpoints   int
	services    []int
	ours, shape []measured
}

func (t rulesTable) rows() []row {
	sizes := make([]string, len(t.services))
	for i, n := range t.services {
		sizes[i] = thousands(n)
	}
	at := fmt.Sprintf(", %s Services x %d endpoints", strings.Join(sizes, "; "), t.endpoints)
	const like = "kube-proxy's shape, `nft -f`: "
	load := func(m measured) string { return fmt.Sprintf("%s (processor %s)", show(m.Load), show(m.CPU)) }
	change := func(m measured) string { return pair(m.Change) }
	scale := func(m measured) string { return pair(m.Step) }
	kernel := func(m measured) string { return megabytes(m.Kernel) }
	return []row{
		{"all objects handed over -> in the kernel" + at, each(t.ours, func(m measured) string {
			return fmt.Sprintf("%s (processor %s)", show(m.Whole), show(m.CPU))
		}), like + each(t.shape, load), t.pipeline()},
		{"of that, first look at them -> commit" + at, each(t.ours, func(m measured) string { return show(m.Load) }), "as above", budget{}},
		{"an endpoint comes or goes, first look -> commit (p50 / p99)" + at, each(t.ours, change), like + each(t.shape, change), t.fast()},
		{"the same, object handed over -> the kernel's notice" + at, each(t.ours, func(m measured) string { return pair(m.Notice) }), "as above", budget{}},
		{fmt.Sprintf("a Service scaled up or down by %d, first look -> commit (p50 / p99)%s", step, at), each(t.ours, scale), like + each(t.shape, scale), budget{}},
		{"every Service loses an endpoint, first object -> commit" + at, each(t.ours, func(m measured) string { return show(m.All) }), "-", budget{}},
		{"kernel memory" + at, each(t.ours, kernel), like + each(t.shape, kernel), budget{}},
		{"resident memory at most (of its heap: objects, books)" + at, each(t.ours, func(m measured) string {
			return fmt.Sprintf("%s (%s, %s)", megabytes(m.Peak), megabytes(m.Objects), megabytes(m.Books))
		}), "-", budget{}},
	}
}

// each shows a figure of all sizes, a dash where there is none.
func each(all []measured, show func(measured) string) string {
	texts := make([]string, len(all))
	for i, m := range all {
		texts[i] = "-"
		if m.Load > 0 {
			texts[i] = show(m)
		}
	}
	return strings.Join(texts, "; ")
}

// pipeline holds 50 000 Services with two endpoints to a second.
func (t rulesTable) pipeline() budget {
	for i, n := range t.services {
		if n == 50000 && t.endpoints == 2 && t.ours[i].Load > 0 {
			return held("<= 1 s at 50 000", t.ours[i].Whole <= time.Second)
		}
	}
	return budget{}
}

// fast holds single changes to a millisecond, however many Services there are.
func (t rulesTable) fast() budget {
	kept := true
	for _, m := range t.ours {
		_, p99 := quantiles(m.Change)
		kept = kept && p99 <= time.Millisecond
	}
	return held("p99 <= 1 ms", kept)
}

func megabytes(n int) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
