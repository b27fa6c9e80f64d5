package registry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/internal/apitest"
)

// small is a server with few numbers, so that a leak or a number given twice shows.
func small(t *testing.T, dir string) *server {
	t.Helper()
	cfg := apitest.Config(t, dir)
	cfg.ServiceCIDRs, cfg.ClusterDNS = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/23")}, []netip.Addr{netip.MustParseAddr("10.0.0.10")}
	cfg.NodePorts = alloc.PortRange{First: 30000, Last: 30255}
	api, _ := apitest.Run(t, cfg)
	return connect(t, api.ClientConfig())
}

// twice are the addresses and node ports that more than one of the stored Services has.
func (s *server) twice(t *testing.T) []string {
	t.Helper()
	list, err := s.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var twice []string
	owner := map[string]string{}
	claim := func(number, name string) {
		if other := owner[number]; other != "" && other != name {
			twice = append(twice, fmt.Sprintf("%s: %s and %s", number, other, name))
		}
		owner[number] = name
	}
	for _, svc := range list.Items {
		for _, ip := range svc.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				claim(ip, svc.Name)
			}
		}
		for _, port := range svc.Spec.Ports {
			if port.NodePort != 0 {
				claim(fmt.Sprint(port.NodePort), svc.Name)
			}
		}
	}
	return twice
}

// clear deletes the Services of the namespace default but the API's own, until none is left.
func (s *server) clear(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		services := s.CoreV1().Services("default")
		list, err := services.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, svc := range list.Items {
			if svc.Name != "kubernetes" {
				_, _ = services.Patch(t.Context(), svc.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}, "status")
				_ = services.Delete(t.Context(), svc.Name, metav1.DeleteOptions{})
				err = errors.New("some Services are left")
			}
		}
		return err
	})
}

func eventually(t *testing.T, done func() error) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestCancelledWrites hangs up on writes of every kind at random moments. Afterwards no number has two Services, and when
// all Services are gone all numbers can be given.
func TestCancelledWrites(t *testing.T) {
	s := small(t, t.TempDir())
	end := time.Now().Add(6 * time.Second)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				s.hangUp(t, fmt.Sprintf("s%d-%d", w%4, i%15))
			}
		})
	}
	writers.Wait()
	if twice := s.twice(t); len(twice) > 0 {
		t.Errorf("given twice: %q", twice)
	}
	s.clear(t)
	services := s.CoreV1().Services("default")
	for i := range 256 {
		svc := service(t, fmt.Sprintf("all%d", i), "{type: NodePort, ports: [{port: 80}]}")
		eventually(t, func() error { // the last of the cancelled writes may be on its way still
			_, err := services.Create(t.Context(), svc.DeepCopy(), metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("of 256 node ports, %d are free: %w", i, err)
			}
			return nil
		})
	}
	if twice := s.twice(t); len(twice) > 0 {
		t.Errorf("given twice: %q", twice)
	}
}

// hangUp begins a write of the Service name and breaks it off after a moment.
func (s *server) hangUp(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(4000))*time.Microsecond)
	defer cancel()
	services := s.CoreV1().Services("default")
	patch := func(body string, parts ...string) {
		_, _ = services.Patch(ctx, name, types.MergePatchType, []byte(body), metav1.PatchOptions{}, parts...)
	}
	switch rand.IntN(10) {
	case 0:
		_ = services.Delete(ctx, name, metav1.DeleteOptions{})
	case 1:
		patch(`{"spec":{"type":"ClusterIP"}}`)
	case 2:
		patch(`{"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local"}}`)
	case 3:
		patch(`{"spec":{"type":"NodePort"}}`)
	case 4:
		patch(`{"spec":{"type":"ExternalName","externalName":"a.example"}}`)
	case 5:
		patch(`{"metadata":{"finalizers":["example.com/a"]}}`)
	case 6:
		patch(`{"metadata":{"finalizers":null}}`, "status")
	case 7:
		if rand.IntN(20) == 0 {
			_ = s.CoreV1().RESTClient().Delete().Namespace("default").Resource("services").Param("fieldSelector", "spec.type=ClusterIP").Do(ctx).Error()
		}
	default:
		_, _ = services.Create(ctx, service(t, name, "{type: NodePort, ports: [{port: 80}]}"), metav1.CreateOptions{})
	}
}
