package external

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/external/healthcheck"
)

// quick asks each port every second and believes the first answer.
const quick = `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":1}`

const refused = "dial tcp 192.0.2.%[1]d:3306: connect: connection refused"

// TestController runs the controller against a real API server, real agents' handlers and real sockets.
func TestController(t *testing.T) {
	l := startLab(t)
	stop := l.run(t)
	t.Run("alive", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *lab){
			"an address fails and comes back":   testMoves,
			"the manifest is applied again":     testApplyAgain,
			"a minimum is kept":                 testKeep,
			"the annotation is removed":         testRemoved,
			"the Service gets a selector":       testSelector,
			"annotations that are wrong":        testInvalid,
			"http, a named port, slice by hand": testHTTP,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); test(t, l) })
		}
	})
	t.Run("restart", func(t *testing.T) { testRestart(t, l, stop) })
}

func testMoves(t *testing.T, l *lab) {
	stop := serve(t, "192.0.2.1:3306")
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("1 2 !3"))
	s.becomes(t, "1 !2 !3 | 2")
	text := fmt.Sprintf("Endpoint 192.0.2.2:3306 failed its probe: "+refused+"; it gets no traffic", 2)
	s.told(t, "Warning", "Unhealthy", text)

	stop2 := serve(t, "192.0.2.2:3306")
	s.becomes(t, "1 2 !3 |")
	s.told(t, "Normal", "Healthy", "Endpoint 192.0.2.2:3306 answers again")

	stop()
	stop2()
	s.becomes(t, "!1 !2 !3 | 1 2")
	serve(t, "192.0.2.3:3306") // which a person keeps out
	serve(t, "192.0.2.1:3306")
	s.becomes(t, "1 !2 !3 | 2")
}

func testApplyAgain(t *testing.T, l *lab) {
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("4 5"))
	s.becomes(t, "!4 !5 | 4 5")
	// From now on only memory can take an address out: failures no longer suffice.
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[api.AnnotationProbe] = `{"tcpSocket":{},"periodSeconds":3600,"failureThreshold":9}`
	})
	s.apply(t, object("4 5 6"))
	s.becomes(t, "!4 !5 6 | 4 5")
	if err := l.client.CoreV1().Endpoints(s.name).Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.apply(t, object("4 5")) // as kubectl replace --force: without our annotation
	s.becomes(t, "!4 !5 | 4 5")
}

func testKeep(t *testing.T, l *lab) {
	s := l.space(t, api.AnnotationProbe, quick, api.AnnotationKeep, "1")
	stop := serve(t, "192.0.2.7:3306")
	s.apply(t, object("7 8"))
	s.becomes(t, "7 !8 | 8")
	stop()
	s.told(t, "Warning", "Unhealthy", fmt.Sprintf("Endpoint 192.0.2.7:3306 failed its probe: "+refused+"; it keeps its traffic, because fairlead.dev/probe-keep is 1", 7))
	s.becomes(t, "7 !8 | 8")
	defer serve(t, "192.0.2.8:3306")()
	s.becomes(t, "!7 8 | 7")
}

func testRemoved(t *testing.T, l *lab) {
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("4 5 !6"))
	s.becomes(t, "!4 !5 !6 | 4 5")
	s.service(t, func(svc *corev1.Service) { delete(svc.Annotations, api.AnnotationProbe) })
	s.becomes(t, "4 5 !6 |")
}

func testSelector(t *testing.T, l *lab) {
	s := l.space(t, api.AnnotationProbe, quick)
	slice := handSlice("4")
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "db"}
	client := l.client.DiscoveryV1().EndpointSlices(s.name)
	if _, err := client.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	find := func() (bool, bool) {
		now, err := client.Get(t.Context(), slice.Name, metav1.GetOptions{})
		return err == nil && *now.Endpoints[0].Conditions.Ready, err == nil && healthcheck.Ejected(now)["192.0.2.4:3306"]
	}
	until(t, func() (bool, string) { ready, taken := find(); return !ready && taken, fmt.Sprint(ready, taken) })
	s.service(t, func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "db"} })
	// The next removal of the annotation is answered only if we still look after the Service.
	s.service(t, func(svc *corev1.Service) { delete(svc.Annotations, api.AnnotationProbe) })
	other := l.space(t, api.AnnotationProbe, quick) // later work is done: the queue is past the above
	other.apply(t, object("5"))
	other.becomes(t, "!5 | 5")
	if ready, taken := find(); ready || !taken {
		t.Errorf("the slice was changed: ready %v, listed %v", ready, taken)
	}
}

func testInvalid(t *testing.T, l *lab) {
	s := l.space(t, api.AnnotationProbe, `{"exec":{"command":["true"]}}`)
	s.apply(t, object("4"))
	s.told(t, "Warning", "InvalidProbe", "annotation fairlead.dev/probe: exec: Forbidden: an address outside of the cluster has no container to run a command in")
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[api.AnnotationProbe] = `{"tcpSocket":{"port":"web"},"failureThreshold":1}`
	})
	s.told(t, "Warning", "InvalidProbe", `annotation fairlead.dev/probe: port: Invalid value: "web": neither the Service nor its endpoints have a TCP port of this name`)
	if got := s.now(t); got != "4 |" {
		t.Errorf("moved by a wrong probe: %s", got)
	}
	s.service(t, func(svc *corev1.Service) { svc.Annotations[api.AnnotationProbe] = quick })
	s.becomes(t, "!4 | 4")
	s.service(t, func(svc *corev1.Service) { svc.Annotations[api.AnnotationProbe] = `{` })
	until(t, func() (bool, string) {
		events := strings.Join(s.events(t), "\n")
		return strings.Contains(events, "InvalidProbe annotation fairlead.dev/probe: error converting YAML to JSON"), events
	})
	if got := s.now(t); got != "!4 | 4" {
		t.Errorf("moved by a wrong probe: %s", got)
	}
}

func testHTTP(t *testing.T, l *lab) {
	var code atomic.Int32
	code.Store(http.StatusServiceUnavailable)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(int(code.Load()))
	})}
	socket, err := net.Listen("tcp", "192.0.2.9:8080")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(socket)
	t.Cleanup(func() { server.Close() })

	s := l.space(t, api.AnnotationProbe, "httpGet:\n  path: /ready\n  port: admin\nperiodSeconds: 1\nfailureThreshold: 2\n")
	slice := handSlice("9")
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: "staff"}
	client := l.client.DiscoveryV1().EndpointSlices(s.name)
	if _, err := client.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		until(t, func() (bool, string) {
			now, err := client.Get(t.Context(), slice.Name, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			got := show(healthcheck.View{Slices: []*discoveryv1.EndpointSlice{now}}, healthcheck.Ejected(now))
			return got == want, got
		})
	}
	is("!9 | 9")
	s.told(t, "Warning", "Unhealthy", "Endpoint 192.0.2.9:3306 failed its probe: HTTP probe failed with statuscode: 503; it gets no traffic")
	code.Store(http.StatusOK)
	is("9 |")
	s.told(t, "Normal", "Healthy", "Endpoint 192.0.2.9:3306 answers again")
}

func testRestart(t *testing.T, l *lab, stop func()) {
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("5 6"))
	s.becomes(t, "!5 !6 | 5 6")
	stop()
	version := func() string {
		ep, err := l.client.CoreV1().Endpoints(s.name).Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ep.ResourceVersion
	}
	before, asked := version(), func() int32 { return l.agents["n1"].asked.Load() + l.agents["n2"].asked.Load() }
	n := asked()
	stop = l.run(t)
	until(t, func() (bool, string) { now := asked(); return now > n+20, fmt.Sprint(now) })
	if got := version(); got != before {
		t.Errorf("a restart wrote the Endpoints: %s", s.now(t))
	}
	stop()
	s.apply(t, object("5 6")) // while nobody looks
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[api.AnnotationProbe] = `{"tcpSocket":{},"periodSeconds":3600,"failureThreshold":9}`
	})
	l.run(t)
	s.becomes(t, "!5 !6 | 5 6")
	s.told(t, "Warning", "Unhealthy", "Endpoint 192.0.2.5:3306 failed its probe before; it gets no traffic")
}
