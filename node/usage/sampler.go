package usage

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/api/usage"
)

const (
	// fresh is how long an answer stands: whoever asks sooner gets the same, as from upstream's metrics-server.
	fresh = 10 * time.Second
	// remembered is how long a sample may be the beginning of a window.
	remembered = 2 * time.Minute
	// brief is the window for whoever asks when there is no sample to begin with.
	brief = time.Second
)

// Sampler has two samples for whoever asks, as far apart as the questions are.
type Sampler struct {
	read   func(context.Context) (Sample, error)
	pause  func(context.Context, time.Duration)
	now    func() time.Time
	forget *time.Timer

	mu          sync.Mutex // held by who takes a sample; the others wait for that
	first, last Sample
}

// NewSampler is a sampler of what read reads. It reads nothing before it is asked.
func NewSampler(read func(context.Context) (Sample, error)) *Sampler {
	s := &Sampler{read: read, now: time.Now, pause: func(ctx context.Context, d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}}
	s.forget = time.AfterFunc(remembered, s.clear)
	s.forget.Stop()
	return s
}

// clear gives up samples that are too old to begin with.
func (s *Sampler) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.last.Time) >= remembered {
		s.first, s.last = Sample{}, Sample{}
	}
}

// Pair is two samples, the second not older than fresh. Who asks first after a time waits for the second one.
func (s *Sampler) Pair(ctx context.Context) (first, last Sample, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.last.Time); age < fresh && age >= 0 && !s.first.Time.IsZero() {
		return s.first, s.last, nil
	}
	begin := s.last
	if age := now.Sub(begin.Time); age > remembered || age < brief {
		if begin, err = s.read(ctx); err != nil {
			return first, last, err
		}
		s.pause(ctx, brief)
	}
	end, err := s.read(ctx)
	if err == nil {
		err = ctx.Err() // who did not wait must not leave a window of no length
	}
	if err != nil {
		return first, last, err
	}
	s.first, s.last = begin, end
	s.forget.Reset(remembered)
	return begin, end, nil
}

// Report is what was used between two samples.
func Report(first, last Sample) usage.Report {
	var r usage.Report
	r.Node, _ = usage.Between(point(first.Time, first.Node), point(last.Time, last.Node), time.Time{})
	before := map[string]Container{}
	for _, p := range first.Pods {
		for _, c := range p.Containers {
			before[c.ID] = c
		}
	}
	for _, p := range last.Pods {
		if pod, ok := podUse(p, before, first.Time, last.Time); ok {
			r.Pods = append(r.Pods, pod)
		}
	}
	return r
}

// podUse is what the containers of a pod used; false while one of them has just begun, as upstream's metrics-server has it: a part would
// look like the whole.
func podUse(p Pod, before map[string]Container, from, to time.Time) (usage.Pod, bool) {
	pod := usage.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID}
	for _, c := range p.Containers {
		was, begin := usage.Point{}, c.Started
		if b, ok := before[c.ID]; ok { // its counter goes on
			was, begin = point(from, b.Count), time.Time{}
		}
		use, ok := usage.Between(was, point(to, c.Count), begin)
		if !ok {
			return pod, false
		}
		pod.Containers = append(pod.Containers, usage.Container{Name: c.Name, Use: use})
	}
	slices.SortFunc(pod.Containers, func(a, b usage.Container) int { return strings.Compare(a.Name, b.Name) })
	return pod, len(pod.Containers) > 0
}

func point(at time.Time, c Count) usage.Point {
	return usage.Point{Time: at, CPU: c.CPU, WorkingSet: c.WorkingSet}
}

// ServeHTTP answers the control plane with a Report.
func (s *Sampler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, last, err := s.Pair(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Report(first, last)) // who has gone does not read it
}
