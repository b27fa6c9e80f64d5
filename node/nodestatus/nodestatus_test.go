package nodestatus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestNodeStatus(t *testing.T) {
	long := metav1.NewTime(time.Unix(1000, 0))
	old := &corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: long},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, LastTransitionTime: long},
		{Type: "Other", Status: corev1.ConditionTrue},
	}, Capacity: corev1.ResourceList{"example.com/gpu": resource.MustParse("3"), "gone": resource.MustParse("1")}}
	cfg := Config{Name: "n1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Port: 10250}
	f := facts{cpus: 2, memory: 4 << 30, available: 1 << 30, disk: 100, diskFree: 50}
	images := []*runtimeapi.Image{{RepoTags: []string{"small"}, Size: 1}, {RepoTags: []string{"big"}, Size: 2}}
	s := nodeStatus(old, cfg, f, readiness(""), "containerd://1.6", images, time.Unix(2000, 0))
	var words []string
	for _, c := range s.Conditions {
		words = append(words, string(c.Type)+"="+string(c.Status)+" "+c.LastTransitionTime.UTC().Format("15:04"))
	}
	want := "MemoryPressure=False 00:33, DiskPressure=False 00:33, PIDPressure=False 00:33, Ready=True 00:16, Other=True 00:00"
	if got := strings.ReplaceAll(strings.Join(words, ", "), "Other=True "+(&metav1.Time{}).UTC().Format("15:04"), "Other=True 00:00"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.Addresses[0] != (corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}) || s.DaemonEndpoints.KubeletEndpoint.Port != 10250 ||
		s.Capacity.Cpu().Value() != 2 || s.Allocatable.Pods().Value() != 110 || s.Images[0].Names[0] != "big" || s.NodeInfo.KubeletVersion != Version {
		t.Errorf("got %+v", s)
	}
	if gpus := s.Allocatable["example.com/gpu"]; gpus.Value() != 3 || len(s.Allocatable) != 5 {
		t.Errorf("got %+v: what others give the node stays", s.Allocatable)
	}
	if c := readiness("no network"); c.Status != corev1.ConditionFalse || c.Reason != "KubeletNotReady" || c.Message != "no network" {
		t.Errorf("got %+v", c)
	}
}

// TestRetryIsTerse: what fails in the same way again and again is told once, and whoever asks is told what it is.
func TestRetryIsTerse(t *testing.T) {
	var log bytes.Buffer
	r := New(Config{Name: "n1"}, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tries := 0
	err := r.retry(ctx, "a sign", func() error {
		if tries++; tries == 9 { // after more than a second
			cancel()
		}
		return errors.New("none")
	})
	if err == nil || r.Waiting() != "waits for a sign: none" || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("%v, waiting %q, log\n%s", err, r.Waiting(), log.String())
	}
	if err := r.retry(t.Context(), "a sign", func() error { return nil }); err != nil || r.Waiting() == "" {
		t.Errorf("%v, waiting %q: another's reason is not taken away", err, r.Waiting())
	}
}
