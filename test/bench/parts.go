package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// part is a group of figures that can be asked for by name. It is measured while nothing else uses what it is measured
// on, and leaves behind what it found.
type part[S any] struct {
	name  string
	limit time.Duration // how long it may take
	run   func(on S, ctx context.Context, runs int) ([]row, error)
}

// alone are the parts that need no cluster, or make their own.
func alone() []part[options] {
	return []part[options]{
		{"start", 2 * time.Minute, options.coldStarts},
		{"rules", 10 * time.Minute, options.rules},
		{"names", 3 * time.Minute, options.names},
		{"l7", 8 * time.Minute, options.l7},
		{"routes", 5 * time.Minute, options.routes},
		{"failover", 5 * time.Minute, options.failover},
	}
}

// small are the parts that need a cluster with few objects.
func small() []part[*cluster] {
	return []part[*cluster]{
		{"answer", 2 * time.Minute, (*cluster).firstAnswer},
		{"change", 3 * time.Minute, (*cluster).propagation},
		{"idle", 3 * time.Minute, (*cluster).idle},
		{"more", 2 * time.Minute, (*cluster).morePods},
		{"rollout", 10 * time.Minute, (*cluster).rollout},
		{"definitions", 5 * time.Minute, (*cluster).definitions},
	}
}

// heading is a table of the document.
type heading struct {
	title string
	parts []string
}

// headings has every part once, in the order of the document.
func headings() []heading {
	return []heading{
		{"From nothing to an answer", []string{"start", "answer", "more"}},
		{"From a pod's status to the kernel's rule", []string{"change", "hops", "flap"}},
		{"Many Services in a cluster", []string{"create", "memory", "restart"}},
		{"Rules in the kernel", []string{"rules"}},
		{"Connections", []string{"path", "rollout"}},
		{"Names", []string{"names"}},
		{"HTTP from outside", []string{"l7", "routes"}},
		{"Announced addresses", []string{"failover"}},
		{"At rest", []string{"idle", "definitions"}},
	}
}

func partNames() []string {
	var names []string
	for _, h := range headings() {
		names = append(names, h.parts...)
	}
	return names
}

// measure runs what is wanted.
func measure(ctx context.Context, o options) *results {
	r := &results{parts: map[string]*taken{}}
	for _, p := range alone() {
		if o.wants(p.name) {
			r.take(ctx, p.name, p.name, p.limit, func(ctx context.Context) ([]row, error) { return p.run(o, ctx, o.runs) })
		}
	}
	measureSmall(ctx, o, r)
	measureLarge(ctx, o, r)
	return r
}

func measureSmall(ctx context.Context, o options, r *results) {
	wanted := slices.DeleteFunc(small(), func(p part[*cluster]) bool { return !o.wants(p.name) })
	if len(wanted) == 0 || ctx.Err() != nil {
		return
	}
	c, err := newCluster(ctx, o)
	if err != nil {
		r.fail(wanted[0].name, fmt.Errorf("start a cluster: %w", err))
		return
	}
	defer c.down(context.WithoutCancel(ctx))
	for _, p := range wanted {
		failures := len(r.errs)
		r.take(ctx, p.name, p.name, p.limit, func(ctx context.Context) ([]row, error) { return p.run(c, ctx, o.runs) })
		if len(r.errs) > failures {
			r.fail(p.name, c.clear(ctx))
		}
	}
}

// clear deletes what a part has left that failed: the next one uses the same cluster address.
func (c *cluster) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	list, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("delete what was left: %w", err)
	}
	for _, ns := range list.Items {
		if ns.Name == metav1.NamespaceDefault || strings.HasPrefix(ns.Name, "kube-") {
			continue
		}
		if err := c.gone(ctx, ns.Name); err != nil {
			return fmt.Errorf("delete namespace %s, which was left: %w", ns.Name, err)
		}
	}
	return nil
}

// coldStarts times `up` on an empty data directory until it returns: API, node, DNS and rules answer.
func (o options) coldStarts(ctx context.Context, _ int) ([]row, error) {
	var took []time.Duration
	for range 3 {
		start := time.Now()
		c, err := newCluster(ctx, o)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(start)-c.imported)
		if err := c.down(ctx); err != nil {
			return nil, err
		}
	}
	return []row{{"cold `up` until API, node, rules and DNS answer", spread(took), "-", atMost(2*time.Second, median(took))}}, nil
}
