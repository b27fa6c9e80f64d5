package node

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/pki/peer"
)

// TestR32_GatesSurviveAStatusPatch: a condition that another client wrote after the node last saw the pod is kept.
func TestR32_GatesSurviveAStatusPatch(t *testing.T) {
	from := corev1.PodStatus{Phase: corev1.PodPending, PodIP: "10.1.1.1", PodIPs: []corev1.PodIP{{IP: "10.1.1.1"}}, Reason: "old",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}}
	to := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.1.2", PodIPs: []corev1.PodIP{{IP: "10.1.1.2"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	patch, err := statusPatch("u", &from, &to)
	if err != nil {
		t.Fatal(err)
	}
	stored := from.DeepCopy()
	stored.Conditions = append(stored.Conditions, corev1.PodCondition{Type: "x/gate", Status: corev1.ConditionTrue})
	before, err := json.Marshal(corev1.Pod{Status: *stored})
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.Pod
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	to.Conditions = append(to.Conditions, corev1.PodCondition{Type: "x/gate", Status: corev1.ConditionTrue})
	if !reflect.DeepEqual(got.Status, to) || got.UID != "u" {
		t.Errorf("got %+v (uid %q), want %+v", got.Status, got.UID, to)
	}
}

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
		s        snapshot
		previous bool
		want     uint32
		err      string
	}{
		{"running", snapshot{waits(""), has(life.Running)}, false, 0, ""},
		{"crashed, backing off", snapshot{waits("CrashLoopBackOff"), has(life.Exited)}, false, 0, ""},
		{"previous of a running one", snapshot{waits(""), has(life.Running, life.Exited)}, true, 0, ""},
		{"previous of one that backs off", snapshot{waits("CrashLoopBackOff"), has(life.Exited, life.Exited)}, true, 1, ""},
		{"no previous", snapshot{waits(""), has(life.Running)}, true, 0, `previous terminated container "c" in pod "p" not found`},
		{"creating", snapshot{waits("ContainerCreating"), has()}, false, 0, `container "c" in pod "p" is waiting to start: ContainerCreating`},
		{"no image", snapshot{waits("ErrImagePull"), has()}, false, 0, `container "c" in pod "p" is waiting to start: image can't be pulled`},
		{"image back-off", snapshot{waits("ImagePullBackOff"), has()}, false, 0, `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		{"unknown", snapshot{waits(""), has()}, false, 0, `container "c" in pod "p" is not available`},
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

func TestOnlyTheControlPlaneMayAsk(t *testing.T) {
	handler := onlyControlPlane(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, test := range []struct {
		subject *pkix.Name
		want    int
	}{
		{nil, http.StatusUnauthorized},
		{&pkix.Name{CommonName: "system:node:n2", Organization: []string{"system:nodes"}}, http.StatusForbidden},
		{&pkix.Name{CommonName: "fairlead-apiserver"}, http.StatusForbidden},
		{&pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, http.StatusForbidden},
		{&pkix.Name{CommonName: "fairlead-apiserver-agent-client", Organization: []string{peer.CallerGroup}}, http.StatusNoContent},
	} {
		r := httptest.NewRequest(http.MethodGet, "/pods", nil)
		if test.subject != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: *test.subject}}}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%v: got %d, want %d", test.subject, w.Code, test.want)
		}
	}
}

func TestNodeStatus(t *testing.T) {
	long := metav1.NewTime(time.Unix(1000, 0))
	old := &corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: long},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, LastTransitionTime: long},
		{Type: "Other", Status: corev1.ConditionTrue},
	}}
	cfg := Config{Name: "n1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Listen: netip.MustParseAddrPort("192.0.2.1:10250")}
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
	if c := readiness("no network"); c.Status != corev1.ConditionFalse || c.Reason != "KubeletNotReady" || c.Message != "no network" {
		t.Errorf("got %+v", c)
	}
}

// TestMetricsPage: metrics are served to those whom the agent obeys, if there are any.
func TestMetricsPage(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("up 1\n")) })
	for name, c := range map[string]struct {
		cfg    Config
		caller string
		code   int
		body   string
	}{
		"the API server": {Config{Handlers: map[string]http.Handler{"/metrics": page}}, peer.CallerGroup, 200, "up 1\n"},
		"a node":         {Config{Handlers: map[string]http.Handler{"/metrics": page}}, "system:nodes", 403, "Forbidden (user=someone)\n"},
		"none":           {Config{}, peer.CallerGroup, 404, "404 page not found\n"},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "someone", Organization: []string{c.caller}}}}}
		w := httptest.NewRecorder()
		New(c.cfg, nil, nil, slog.New(slog.DiscardHandler)).handler().ServeHTTP(w, r)
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, w.Body, c.code, c.body)
		}
	}
}
