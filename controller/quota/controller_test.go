package quota_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"

	"fairlead.dev/fairlead/controller/quota"
	"fairlead.dev/fairlead/internal/apitest"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func start(t *testing.T) kubernetes.Interface {
	server, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	config := server.ClientConfig()
	client := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
	shared := informers.NewSharedInformerFactory(client, 0)
	kinds := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	c := quota.New(client, must[metadata.Interface](t)(metadata.NewForConfig(config)), kinds, shared, server.AwaitFirst, slog.New(slog.DiscardHandler))
	apitest.Control(t, shared, c.Run)
	return client
}

func used(t *testing.T, client kubernetes.Interface, want string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		q, err := client.CoreV1().ResourceQuotas("default").Get(t.Context(), "q", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		var got []string
		for _, name := range []corev1.ResourceName{"pods", "requests.cpu", "secrets", "count/leases.coordination.k8s.io", "services.nodeports"} {
			value, ok := q.Status.Used[name]
			if !ok {
				return fmt.Sprintf("%s is not counted: %v", name, q.Status)
			}
			got = append(got, value.String())
		}
		if s := strings.Join(got, " "); s != want {
			return fmt.Sprintf("used %s, want %s", s, want)
		}
		return ""
	})
}

// TestUsage: what is made is counted by admission, which refuses what is too much, and what goes by the controller.
func TestUsage(t *testing.T) {
	client := start(t)
	core := client.CoreV1()
	hard := corev1.ResourceList{}
	for name, value := range map[corev1.ResourceName]string{"pods": "2", "requests.cpu": "1", "secrets": "1", "count/leases.coordination.k8s.io": "1", "services.nodeports": "1"} {
		hard[name] = resource.MustParse(value)
	}
	must[*corev1.ResourceQuota](t)(core.ResourceQuotas("default").Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{}))
	used(t, client, "0 0 0 0 0")

	pod := func(name, cpu string) *corev1.Pod {
		c := corev1.Container{Name: "c", Image: "i"}
		if cpu != "" {
			c.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
		}
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	}
	must[*corev1.Pod](t)(core.Pods("default").Create(t.Context(), pod("a", "700m"), metav1.CreateOptions{}))
	must[*corev1.Secret](t)(core.Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{}))
	port := corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}
	must[*corev1.Service](t)(core.Services("default").Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: port}, metav1.CreateOptions{}))
	used(t, client, "1 700m 1 0 1")

	for _, c := range []struct{ cpu, want string }{
		{"400m", `pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=400m, used: requests.cpu=700m, limited: requests.cpu=1`},
		{"", `pods "b" is forbidden: failed quota: q: must specify requests.cpu for: c`},
	} {
		if _, err := core.Pods("default").Create(t.Context(), pod("b", c.cpu), metav1.CreateOptions{}); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, err := core.Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1") {
		t.Error(err)
	}
	now := int64(0)
	for _, err := range []error{
		core.Pods("default").Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: &now}),
		core.Secrets("default").Delete(t.Context(), "a", metav1.DeleteOptions{}),
		core.Services("default").Delete(t.Context(), "a", metav1.DeleteOptions{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	used(t, client, "0 0 0 0 0")
}

// TestManyAtOnce: of many who make pods at the same time as many succeed as the quota allows.
func TestManyAtOnce(t *testing.T) {
	client := start(t)
	core := client.CoreV1()
	const most, many = 5, 20
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse(fmt.Sprint(most))}}}
	must[*corev1.ResourceQuota](t)(core.ResourceQuotas("default").Create(t.Context(), q, metav1.CreateOptions{}))
	apitest.Eventually(t, func() string {
		if q, err := core.ResourceQuotas("default").Get(t.Context(), "q", metav1.GetOptions{}); err != nil || q.Status.Used == nil {
			return fmt.Sprintf("%v, %v", q.Status, err)
		}
		return ""
	})
	var all sync.WaitGroup
	var made atomic.Int32
	for i := range many {
		all.Go(func() {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
			if _, err := core.Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != most {
		t.Errorf("%d pods were made", n)
	}
}
