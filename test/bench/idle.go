package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const idleFor = 20 * time.Second

// idle measures every process of the cluster at rest, with 2 and with 22 pods, all probed once a second.
func (c *cluster) idle(ctx context.Context, _ int) ([]row, error) {
	var rows []row
	for _, pods := range []int{2, 22} {
		ns := fmt.Sprintf("idle-%d", pods)
		if err := c.apply(ctx, namespace(ns)+web(ns, "web", pods, "")); err != nil {
			return nil, err
		}
		if err := c.ready(ctx, ns, pods); err != nil {
			return nil, err
		}
		time.Sleep(3 * time.Second)
		rows = append(rows, c.rest(pods)...)
		if err := c.gone(ctx, ns); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// rest measures one pause of idleFor.
func (c *cluster) rest(pods int) []row {
	before := c.processes()
	time.Sleep(idleFor)
	rss, cpu := map[string]int{}, map[string]float64{}
	for pid, p := range c.processes() {
		rss[p.kind] += p.rss >> 20
		cpu[p.kind] += float64(p.ticks-before[pid].ticks) / idleFor.Seconds() // 100 ticks a second
	}
	memory := budget{}
	if pods == 2 {
		memory = held("<= 150 MB", rss["fairlead"] <= 150)
	}
	limit := map[int]float64{2: 1.5, 22: 3}[pods]
	return []row{
		{fmt.Sprintf("idle memory (RSS) of the program, %d pods", pods), fmt.Sprintf("%d MB", rss["fairlead"]),
			fmt.Sprintf("containerd %d MB, its shims %d MB", rss["containerd"], rss["shims"]), memory},
		{fmt.Sprintf("idle processor time of the program over %s, %d pods", idleFor, pods), fmt.Sprintf("%.2f %% of a core", cpu["fairlead"]),
			fmt.Sprintf("containerd %.2f %%, its shims %.2f %%", cpu["containerd"], cpu["shims"]), held(fmt.Sprintf("< %g %%", limit), cpu["fairlead"] < limit)},
	}
}

type process struct {
	kind       string
	rss, ticks int // bytes; 1/100 s
}

// processes finds the cluster's own processes by the data directory in their command lines.
func (c *cluster) processes() map[int]process {
	found := map[int]process{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !strings.Contains(string(cmdline), c.dir) {
			continue
		}
		p := process{}
		switch {
		case strings.Contains(string(cmdline), "containerd-shim"):
			p.kind = "shims"
		case strings.HasPrefix(filepath.Base(strings.SplitN(string(cmdline), "\x00", 2)[0]), "containerd"):
			p.kind = "containerd"
		default:
			p.kind = "fairlead"
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		p.rss, p.ticks = usage(dir)
		found[pid] = p
	}
	return found
}

// program sums up the program's own processes: resident memory in bytes, and processor time in 1/100 s.
func (c *cluster) program() (rss, ticks int) {
	for _, p := range c.processes() {
		if p.kind == "fairlead" {
			rss += p.rss
			ticks += p.ticks
		}
	}
	return rss, ticks
}

// cpu is the processor time that the program has used.
func (c *cluster) cpu() time.Duration {
	_, ticks := c.program()
	return time.Duration(ticks) * time.Second / 100
}

func usage(dir string) (rss, ticks int) {
	statm, _ := os.ReadFile(dir + "/statm")
	if f := strings.Fields(string(statm)); len(f) > 1 {
		pages, _ := strconv.Atoi(f[1])
		rss = pages * os.Getpagesize()
	}
	stat, _ := os.ReadFile(dir + "/stat")
	if i := strings.LastIndexByte(string(stat), ')'); i > 0 {
		if f := strings.Fields(string(stat[i+1:])); len(f) > 12 {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			ticks = user + system
		}
	}
	return rss, ticks
}

// ready waits until n pods of a namespace are Ready.
func (c *cluster) ready(ctx context.Context, ns string, n int) error {
	for ctx.Err() == nil {
		d, err := c.client.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if int(d.Status.ReadyReplicas) >= n {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// morePods times twenty more pods until all are Ready.
func (c *cluster) morePods(ctx context.Context, _ int) ([]row, error) {
	ns := "more"
	if err := c.apply(ctx, namespace(ns)+web(ns, "web", 1, "")); err != nil {
		return nil, err
	}
	if err := c.ready(ctx, ns, 1); err != nil {
		return nil, err
	}
	start := time.Now()
	scale, err := c.client.AppsV1().Deployments(ns).GetScale(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	scale.Spec.Replicas = 21
	if _, err := c.client.AppsV1().Deployments(ns).UpdateScale(ctx, "web", scale, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	if err := c.ready(ctx, ns, 21); err != nil {
		return nil, err
	}
	took := time.Since(start)
	return []row{{"20 more pods Ready", show(took), "-", atMost(2500*time.Millisecond, took)}}, c.gone(ctx, ns)
}
