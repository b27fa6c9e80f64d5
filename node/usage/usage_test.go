package usage

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/life"
)

func TestFindTrees(t *testing.T) {
	const (
		unified = "31 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		hybrid  = "32 30 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n" +
			"33 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct\n" +
			"34 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
		only = "34 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	)
	for text, want := range map[string]trees{
		unified:        {"/sys/fs/cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup", true},
		hybrid:         {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", false},
		only + unified: {"/sys/fs/cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup", true},
		only:           {},
		"":             {},
	} {
		got, err := findTrees(text)
		if got != want || (err != nil) != (want == trees{}) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// files writes a directory with texts by path.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCountIsTheSameInBothKindsOfTree(t *testing.T) {
	want := Count{CPU: 7000, Usage: 4096, WorkingSet: 4000, RSS: 100, Cache: 200, Swap: 8, Faults: 3, MajorFaults: 1, Periods: 10, Throttled: 4, ThrottledTime: 6000}
	dir := files(t, map[string]string{
		"v1/cpu,cpuacct/p/cpuacct.usage":        "7000\n",
		"v1/cpu,cpuacct/p/cpu.stat":             "nr_periods 10\nnr_throttled 4\nthrottled_time 6000\n",
		"v1/memory/p/memory.usage_in_bytes":     "4096\n",
		"v1/memory/p/memory.stat":               "inactive_file 1\ntotal_inactive_file 96\ntotal_rss 100\ntotal_cache 200\ntotal_swap 8\ntotal_pgfault 3\ntotal_pgmajfault 1\n",
		"v2/p/cpu.stat":                         "usage_usec 7\nnr_periods 10\nnr_throttled 4\nthrottled_usec 6\n",
		"v2/p/memory.current":                   "4096\n",
		"v2/p/memory.swap.current":              "8\n",
		"v2/p/memory.stat":                      "anon 100\nfile 200\ninactive_file 96\npgfault 3\npgmajfault 1\n",
		"v1/memory/fresh/memory.usage_in_bytes": "x\n",
	})
	v1 := trees{cpu: dir + "/v1/cpu,cpuacct", limits: dir + "/v1/cpu,cpuacct", memory: dir + "/v1/memory"}
	v2 := trees{cpu: dir + "/v2", memory: dir + "/v2", unified: true}
	for _, tree := range []trees{v1, v2} {
		if got, err := tree.count("p"); err != nil || got != want {
			t.Errorf("unified %v: %+v, %v; want %+v", tree.unified, got, err, want)
		}
		if _, err := tree.count("gone"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("unified %v: a group that has gone: %v", tree.unified, err)
		}
	}
	if _, err := v1.count("fresh"); err == nil {
		t.Error("a counter that is no number is taken")
	}
}

// TestCountAll reads this very machine.
func TestCountAll(t *testing.T) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := findTrees(string(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tree.countAll()
	if err != nil || c.CPU == 0 || c.WorkingSet == 0 || c.WorkingSet > c.Usage || c.Usage > c.Total || c.Available > c.Total {
		t.Errorf("%+v, %v", c, err)
	}
}

// clock is a sampler of a node that uses one processor, whose time passes in pauses only.
type clock struct {
	at    time.Time
	reads int
	err   error
}

func (c *clock) sampler() *Sampler {
	s := NewSampler(func(context.Context) (Sample, error) {
		c.reads++
		return Sample{Time: c.at, Node: Count{CPU: uint64(c.at.UnixNano())}}, c.err
	})
	s.now = func() time.Time { return c.at }
	s.pause = func(_ context.Context, d time.Duration) { c.at = c.at.Add(d) }
	return s
}

func TestSamplerReadsOnlyWhenAsked(t *testing.T) {
	c := &clock{at: time.Unix(1e6, 0)}
	s := c.sampler()
	for i, step := range []struct {
		after  time.Duration
		reads  int // so far
		window time.Duration
	}{
		{0, 2, time.Second},                          // who asks first waits for a second point
		{0, 2, time.Second},                          // who asks at once gets the same
		{fresh - time.Second, 2, time.Second},        // and so for a while
		{5 * time.Second, 3, fresh + 4*time.Second},  // then the time since is the window
		{15 * time.Second, 4, 15 * time.Second},      // as for an autoscaler
		{remembered, 5, remembered},                  // still
		{remembered + 5*time.Second, 7, time.Second}, // what is too old begins no window
		{-time.Hour, 9, time.Second},                 // the clock was set back
	} {
		c.at = c.at.Add(step.after)
		first, last, err := s.Pair(t.Context())
		if err != nil || c.reads != step.reads || last.Time.Sub(first.Time) != step.window {
			t.Errorf("step %d: %d reads, window %v, %v; want %d, %v", i, c.reads, last.Time.Sub(first.Time), err, step.reads, step.window)
		}
		if r := Report(first, last); r.Node.NanoCores != 1e9 || r.Node.Window != step.window {
			t.Errorf("step %d: %+v", i, r.Node)
		}
	}
	c.at = c.at.Add(remembered)
	if s.clear(); !s.last.Time.IsZero() {
		t.Error("nobody asks, and samples are kept")
	}
}

func TestSamplerTellsWhatFails(t *testing.T) {
	c := &clock{at: time.Unix(1e6, 0), err: errors.New("no cgroups")}
	s := c.sampler()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || w.Body.String() != "no cgroups\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c.err = nil
	if _, _, err := s.Pair(gone); !errors.Is(err, context.Canceled) || !s.last.Time.IsZero() {
		t.Errorf("who has gone: %v, and %v is kept", err, s.last.Time)
	}
}

// two are samples ten seconds apart: of a pod whose container a uses half a processor, and of one that began between them.
func two() (first, last Sample) {
	began := time.Unix(1000, 0)
	second := uint64(time.Second)
	pod := func(name string, containers ...Container) Pod {
		return Pod{Namespace: "ns", Name: name, UID: "u-" + name, Group: "/g/" + name, Started: began, Containers: containers, Count: Count{CPU: second, WorkingSet: 9},
			Network: Network{Known: true, RxBytes: 5}}
	}
	a := Container{Name: "a", ID: "1", Image: "i", Started: began, Count: Count{CPU: second, WorkingSet: 2}}
	first = Sample{Time: time.Unix(2000, 0), Node: Count{CPU: second, Available: 3}, Pods: []Pod{pod("old", a)}}
	a.CPU += 5 * second
	b := Container{Name: "b", ID: "2", Image: "i", Started: time.Unix(2008, 0), Count: Count{CPU: second, WorkingSet: 4}}
	c := Container{Name: "c", ID: "3", Image: "i", Started: time.Unix(2010, 0).Add(-time.Millisecond), Count: Count{CPU: second}}
	last = Sample{Time: time.Unix(2010, 0), Node: Count{CPU: 21 * second, WorkingSet: 7, Available: 3}, Pods: []Pod{pod("old", a), pod("new", b), pod("newest", a, c), pod("ended")}}
	return first, last
}

func TestReport(t *testing.T) {
	r := Report(two())
	if r.Node.NanoCores != 2e9 || r.Node.WorkingSet != 7 || len(r.Pods) != 2 {
		t.Fatalf("%+v", r)
	}
	old, young := r.Pods[0], r.Pods[1]
	if old.Name != "old" || old.Containers[0].NanoCores != 5e8 || old.Containers[0].Window != 10*time.Second {
		t.Errorf("%+v", old)
	}
	if young.Name != "new" || young.Containers[0].NanoCores != 5e8 || young.Containers[0].Window != 2*time.Second {
		t.Errorf("%+v", young)
	}
}

func TestSummary(t *testing.T) {
	first, last := two()
	s := summary("n1", first, last)
	if s.Node.NodeName != "n1" || *s.Node.CPU.UsageNanoCores != 2e9 || *s.Node.Memory.AvailableBytes != 3 || len(s.Pods) != 4 {
		t.Fatalf("%+v", s.Node)
	}
	old, newest := s.Pods[0], s.Pods[2]
	if old.PodRef.UID != "u-old" || *old.CPU.UsageNanoCores != 5e8 || *old.Network.RxBytes != 5 || *old.Containers[0].CPU.UsageCoreNanoSeconds != 6e9 {
		t.Errorf("%+v", old)
	}
	if newest.CPU.UsageNanoCores != nil || newest.Containers[1].CPU.UsageNanoCores != nil {
		t.Errorf("how fast something goes that has just begun is not known: %+v", newest)
	}
	if disk := filesystem(t.TempDir(), last.Time); disk == nil || *disk.CapacityBytes < *disk.AvailableBytes {
		t.Errorf("%+v", disk)
	}
}

func TestPodsThatDoNotRunUseNothing(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"}}
	dir := files(t, map[string]string{
		"root/podu/cpu.stat": "usage_usec 7\n", "root/podu/memory.current": "4096\n", "root/podu/memory.stat": "anon 1\n",
		"root/podu/c1/cpu.stat": "usage_usec 5\n", "root/podu/c1/memory.current": "96\n", "root/podu/c1/memory.stat": "anon 1\n",
	})
	from, r := trees{cpu: dir, memory: dir, unified: true}, Reader{CgroupRoot: "root"}
	sandboxes := []life.Sandbox{{ID: "s1", Ready: true}}
	running := life.Container{ID: "c1", State: life.Running}
	for name, c := range map[string]struct {
		seen       life.Observed
		runs       bool
		containers int
	}{
		"no sandbox":                     {life.Observed{}, false, 0},
		"a container that runs":          {life.Observed{Sandboxes: sandboxes, Containers: map[string][]life.Container{"a": {running}}}, true, 1},
		"one that has ended":             {life.Observed{Sandboxes: sandboxes, Containers: map[string][]life.Container{"a": {{ID: "c1", State: life.Exited}}}}, true, 0},
		"one whose cgroup has just gone": {life.Observed{Sandboxes: sandboxes, Containers: map[string][]life.Container{"a": {{ID: "c2", State: life.Running}}}}, true, 0},
	} {
		got, runs := r.pod(from, pod, c.seen)
		if runs != c.runs || len(got.Containers) != c.containers {
			t.Errorf("%s: %v %+v", name, runs, got)
		}
	}
}

// show is a page of a sample.
func show(t *testing.T, s Sample, err error, write func(chan<- prometheus.Metric, Sample, error)) string {
	t.Helper()
	w := httptest.NewRecorder()
	page(func(context.Context) (Sample, error) { return s, err }, write).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestPagesHaveUpstreamsSeries(t *testing.T) {
	_, last := two()
	last.Node.Total = 11
	for name, c := range map[string]struct {
		page string
		want []string
	}{
		"resource": {show(t, last, nil, resource), []string{
			"node_cpu_usage_seconds_total 21 2010000", "node_memory_working_set_bytes 7 2010000", "resource_scrape_error 0",
			`container_cpu_usage_seconds_total{container="a",namespace="ns",pod="old"} 6 2010000`, `container_start_time_seconds{container="b",namespace="ns",pod="new"} 2008`,
			`pod_memory_working_set_bytes{namespace="ns",pod="old"} 9 2010000`,
		}},
		"resource of a node that cannot be read": {show(t, Sample{}, errors.New("x"), resource), []string{"resource_scrape_error 1", "scrape_error 1"}},
		"cadvisor": {show(t, last, nil, cadvisor), []string{
			`container_cpu_usage_seconds_total{container="a",id="/g/old/1",image="i",name="1",namespace="ns",pod="old"} 6 2010000`,
			`container_network_receive_bytes_total{container="",id="/g/old",image="",interface="eth0",name="",namespace="ns",pod="old"} 5 2010000`,
			`container_memory_working_set_bytes{container="",id="/",image="",name="",namespace="",pod=""} 7 2010000`, "machine_memory_bytes 11",
		}},
	} {
		for _, line := range c.want {
			if !strings.Contains(c.page, line+"\n") {
				t.Errorf("%s: no %s in\n%s", name, line, c.page)
			}
		}
	}
}
