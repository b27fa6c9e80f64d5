package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/store"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

// TestTwoServicesWithOneNumber has the server start over a Service that something else has written with the address and the
// node port of another. The younger of the two is told so, and the numbers stay taken until both are gone.
func TestTwoServicesWithOneNumber(t *testing.T) {
	dir := t.TempDir()
	cfg := apitest.Config(t, dir)
	api, stop := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	elder := s.create(t, "elder", "{type: NodePort, clusterIP: 10.97.72.1, ports: [{port: 80, nodePort: 30033}]}")
	stop()
	younger := elder.DeepCopy()
	younger.Name, younger.UID, younger.CreationTimestamp = "younger", "a-b-c", metav1.NewTime(elder.CreationTimestamp.Add(time.Second))
	put(t, dir, "/registry/services/default/younger", younger)

	api, _ = apitest.Run(t, cfg)
	s = connect(t, api.ClientConfig())
	eventually(t, func() error {
		events, err := s.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=younger"})
		if err != nil {
			return err
		}
		said := map[string]bool{}
		for _, e := range events.Items {
			said[e.Reason] = strings.Contains(e.Message, "is also that of Service default/elder")
		}
		if !said["ClusterIPAlreadyAllocated"] || !said["PortAlreadyAllocated"] {
			return fmt.Errorf("said %v", said)
		}
		return nil
	})
	const same = "{type: NodePort, clusterIP: 10.97.72.1, ports: [{port: 80, nodePort: 30033}]}"
	s.remove(t, "elder")
	if err := s.createError(t, "third", same); !strings.Contains(err.Error(), "already allocated") {
		t.Error(err)
	}
	s.remove(t, "younger")
	s.create(t, "third", same)
}

// put writes an object past the API.
func put(t *testing.T, dir, key string, obj runtime.Object) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	st := store.New(dir, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	select {
	case <-st.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := registry.Codecs.LegacyCodec(corev1.SchemeGroupVersion).Encode(obj, &text); err != nil {
		t.Fatal(err)
	}
	client := st.Open()
	_, err := client.Put(ctx, key, text.String())
	client.Close()
	cancel()
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
}

func TestHealthCheckPortThatIsNone(t *testing.T) {
	s := start(t)
	const spec = "{type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: %d, ports: [{port: 80}]}"
	for _, port := range []int{-1, 65536} {
		err := s.createError(t, "a", fmt.Sprintf(spec, port))
		if want := fmt.Sprintf("spec.healthCheckNodePort: Invalid value: %d: must be between 1 and 65535, inclusive", port); complaint(err) != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// TestWritesRightAfterAStart creates a Service as soon as the server answers at all, while the stored ones are still being
// read. It waits for that; it does not fail.
func TestWritesRightAfterAStart(t *testing.T) {
	dir := t.TempDir()
	cfg := apitest.Config(t, dir)
	api, stop := apitest.Run(t, cfg)
	s := connect(t, api.ClientConfig())
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 100 {
				s.create(t, fmt.Sprintf("a%d-%d", w, i), "{ports: [{port: 80}]}")
			}
		})
	}
	writers.Wait()
	stop()
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	early := connect(t, &rest.Config{Host: "https://" + cfg.Bind.String(), QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}})
	ctx, cancel := context.WithCancel(t.Context())
	var hammers sync.WaitGroup
	for h := range 4 {
		hammers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := early.CoreV1().Services("default").Create(ctx, service(t, fmt.Sprintf("b%d-%d", h, i), "ports: [{port: 80}]"), metav1.CreateOptions{})
				if apierrors.IsInternalError(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	apitest.Run(t, cfg)
	cancel()
	hammers.Wait()
}
