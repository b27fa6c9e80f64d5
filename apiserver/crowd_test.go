package apiserver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

// crowd is how many clients list three megabytes again and again.
const crowd = 200

// administrator connects over the network by a certificate, as people do.
func administrator(t testing.TB, cfg apiserver.Config) *rest.Config {
	t.Helper()
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: "https://" + cfg.Bind.String(), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
}

// gather has a crowd list three megabytes of ConfigMaps until the test ends, and counts its lists.
func gather(t testing.TB, cfg apiserver.Config, admin *rest.Config) *atomic.Int64 {
	t.Helper()
	lists := new(atomic.Int64)
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("m", i)}, Data: map[string]string{"k": strings.Repeat("0123456789", 1000)}}
		if _, err := client.CoreV1().ConfigMaps("kube-public").Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	for range crowd {
		one := administrator(t, cfg)
		own, err := rest.HTTPClientFor(one)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for ctx.Err() == nil {
				if fetch(ctx, own, cfg, "/api/v1/namespaces/kube-public/configmaps") == nil {
					lists.Add(1)
				}
			}
		})
	}
	apitest.Eventually(t, func() string {
		if lists.Load() < crowd/10 {
			return "the crowd has not begun to list"
		}
		return ""
	})
	return lists
}

func fetch(ctx context.Context, client *http.Client, cfg apiserver.Config, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+cfg.Bind.String()+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, answer.Status)
	}
	return nil
}

// While two hundred clients list three megabytes each, others are answered between their lists, not after all of them.
func TestACrowdOfListsStarvesNobody(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	admin := administrator(t, cfg)
	lists := gather(t, cfg, admin)
	client, err := rest.HTTPClientFor(admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/healthz", "/livez", "/readyz", "/api/v1/namespaces/kube-public/configmaps/m7", "/api/v1/namespaces/default/services", "/apis",
	} {
		const times = 5
		before := lists.Load()
		for range times {
			if err := fetch(t.Context(), client, cfg, path); err != nil {
				t.Fatal(err)
			}
		}
		if n := lists.Load() - before; n > times*crowd/2 {
			t.Errorf("%s: %d lists were answered before %d of these", path, n, times)
		}
	}
	for _, from := range []string{"", "&resourceVersion=0"} { // watches that begin with a list wait for their turn too, and get it
		if err := fetch(t.Context(), client, cfg, "/api/v1/namespaces/default/services?watch=true&timeoutSeconds=1"+from); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkCrowd is how long others wait while a crowd lists.
func BenchmarkCrowd(b *testing.B) {
	cfg := apitest.Config(b, b.TempDir())
	apitest.Run(b, cfg)
	admin := administrator(b, cfg)
	gather(b, cfg, admin)
	client, err := rest.HTTPClientFor(admin)
	if err != nil {
		b.Fatal(err)
	}
	took := map[string][]time.Duration{}
	var most uint64
	for b.Loop() {
		for name, path := range map[string]string{
			"get": "/api/v1/namespaces/kube-public/configmaps/m7", "healthz": "/healthz", "otherlist": "/api/v1/namespaces/default/services",
		} {
			began := time.Now()
			if err := fetch(b.Context(), client, cfg, path); err != nil {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(began))
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(all[len(all)*99/100].Seconds()*1000, name+"-p99-ms")
		b.ReportMetric(all[len(all)/2].Seconds()*1000, name+"-p50-ms")
	}
	b.ReportMetric(float64(most)/1e6, "heap-MB")
}
