package life

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStartupDuration(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }
	span := func(from, to int) Span { return Span{at(from), at(to)} }
	for name, test := range map[string]struct {
		without []Span
		want    int
	}{
		"nothing":                   {nil, 10},
		"one":                       {[]Span{span(2, 5)}, 7},
		"apart, out of order":       {[]Span{span(6, 8), span(2, 3)}, 7},
		"overlapping":               {[]Span{span(2, 5), span(4, 6)}, 6},
		"one in another":            {[]Span{span(2, 8), span(3, 4), span(7, 9)}, 3},
		"begun before, ended after": {[]Span{span(-5, 1), span(9, 20)}, 8},
		"not ended":                 {[]Span{{From: at(3)}}, 10},
		"all of it":                 {[]Span{span(-1, 20)}, 0},
	} {
		if got := StartupDuration(at(0), at(10), test.without); got != time.Duration(test.want)*time.Second {
			t.Errorf("%s: %v, want %d s", name, got, test.want)
		}
	}
	if got := StartupDuration(at(1), at(0), nil); got != 0 { // clocks of two machines
		t.Errorf("ended before it began: %v", got)
	}
}

func TestAllStarted(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2)}}
	for _, test := range []struct {
		states []corev1.ContainerState
		want   bool
	}{
		{nil, false},
		{[]corev1.ContainerState{running}, false},
		{[]corev1.ContainerState{running, {Waiting: &corev1.ContainerStateWaiting{}}}, false},
		{[]corev1.ContainerState{running, {Running: &corev1.ContainerStateRunning{}}}, false},
		{[]corev1.ContainerState{running, running}, true},
	} {
		pod.Status.ContainerStatuses = nil
		for _, s := range test.states {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{State: s})
		}
		if got := AllStarted(pod); got != test.want {
			t.Errorf("%+v: %v", test.states, got)
		}
	}
}

func TestInitSpans(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "a"}, {Name: "s", RestartPolicy: &always}, {Name: "b"}}}}
	at := time.Unix(1000, 0)
	ended := Container{State: Exited, Started: at, Finished: at.Add(time.Second)}
	seen := Observed{Containers: map[string][]Container{
		"a": {ended, {State: Exited, Finished: at}}, "s": {ended}, "b": {{State: Running, Started: at}}, "c": {ended},
	}}
	if got := InitSpans(pod, seen); len(got) != 1 || got[0] != (Span{at, at.Add(time.Second)}) {
		t.Errorf("got %v", got)
	}
}
