package server

import (
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/life"
)

func TestLogOptions(t *testing.T) {
	now := time.Unix(1000, 0)
	q, err := url.ParseQuery("follow=true&tailLines=3&sinceSeconds=10&timestamps=1&limitBytes=5&stream=Stderr")
	if err != nil {
		t.Fatal(err)
	}
	got, err := logOptions(q, now)
	if err != nil || !got.Follow || *got.Tail != 3 || !got.Since.Equal(time.Unix(990, 0)) || !got.Timestamps || *got.LimitBytes != 5 || got.Stream != "stderr" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"tailLines=-1", "limitBytes=x", "sinceSeconds=x", "sinceTime=x"} {
		q, err := url.ParseQuery(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := logOptions(q, now); err == nil {
			t.Errorf("%s: want an error", bad)
		}
	}
}

func TestLoggedContainer(t *testing.T) {
	waits := func(reason string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
		if reason != "" {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
		}
		return p
	}
	has := func(states ...life.State) life.Observed {
		o := life.Observed{Containers: map[string][]life.Container{}}
		for i, s := range states {
			o.Containers["c"] = append(o.Containers["c"], life.Container{Name: "c", Attempt: uint32(len(states) - 1 - i), State: s})
		}
		return o
	}
	tests := []struct {
		name     string
		s        Pod
		previous bool
		want     uint32
		err      string
	}{
		{"running", Pod{waits(""), has(life.Running)}, false, 0, ""},
		{"crashed, backing off", Pod{waits("CrashLoopBackOff"), has(life.Exited)}, false, 0, ""},
		{"previous of a running one", Pod{waits(""), has(life.Running, life.Exited)}, true, 0, ""},
		{"previous of one that backs off", Pod{waits("CrashLoopBackOff"), has(life.Exited, life.Exited)}, true, 1, ""},
		{"no previous", Pod{waits(""), has(life.Running)}, true, 0, `previous terminated container "c" in pod "p" not found`},
		{"creating", Pod{waits("ContainerCreating"), has()}, false, 0, `container "c" in pod "p" is waiting to start: ContainerCreating`},
		{"no image", Pod{waits("ErrImagePull"), has()}, false, 0, `container "c" in pod "p" is waiting to start: image can't be pulled`},
		{"image back-off", Pod{waits("ImagePullBackOff"), has()}, false, 0, `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		{"unknown", Pod{waits(""), has()}, false, 0, `container "c" in pod "p" is not available`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := loggedContainer(test.s, "c", test.previous)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || c.Attempt != test.want {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}
