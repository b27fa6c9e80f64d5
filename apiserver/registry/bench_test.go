package registry_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// BenchmarkCreateServices creates Services with an address and a node port each from 16 clients, through the whole
// server: HTTP, validation, allocation, etcd. It reports Services per second.
func BenchmarkCreateServices(b *testing.B) {
	client := benchClient(b)
	inParallel(b, "services/s", func(ctx context.Context, n int64) error {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", n)}, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}}
		_, err := client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{})
		return err
	})
}

// BenchmarkCreatePods creates pods from 16 clients. It reports pods per second, and the time that the processor worked for each,
// in client and server.
func BenchmarkCreatePods(b *testing.B) {
	client := benchClient(b)
	inParallel(b, "pods/s", func(ctx context.Context, n int64) error {
		_, err := client.CoreV1().Pods("default").Create(ctx, benchPod(n), metav1.CreateOptions{})
		return err
	})
}

// BenchmarkPodStatus writes the status of pods from 16 clients, as nodes do.
func BenchmarkPodStatus(b *testing.B) {
	const pods = 64
	client := benchClient(b).CoreV1().Pods("default")
	made := make(chan *corev1.Pod, pods)
	for n := range int64(pods) {
		pod, err := client.Create(context.Background(), benchPod(n), metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		made <- pod
	}
	inParallel(b, "writes/s", func(ctx context.Context, n int64) error {
		pod := <-made
		pod.Status.Phase, pod.Status.Message = corev1.PodRunning, fmt.Sprint(n)
		pod.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}}
		pod.Status.PodIP = "10.0.0.1"
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", Ready: true, Image: "nginx:1.27", ContainerID: "containerd://a",
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		changed, err := client.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		if err == nil {
			made <- changed
		}
		return err
	})
}

func benchClient(b *testing.B) *kubernetes.Clientset {
	config := apitest.Start(b)
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// inParallel does something b.N times from 16 clients, and reports how often a second, and how long processors worked for each.
func inParallel(b *testing.B, unit string, do func(ctx context.Context, n int64) error) {
	var n atomic.Int64
	b.SetParallelism(8) // times GOMAXPROCS
	b.ResetTimer()
	worked := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(context.Background(), n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
	b.ReportMetric(float64((processorTime(b)-worked).Microseconds())/float64(b.N), "cpu-us/op")
}

// processorTime is how long processors have worked for this process.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// benchPod is a pod as a Deployment makes it.
func benchPod(n int64) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", n), Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "web", Image: "nginx:1.27", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}},
			Env:            []corev1.EnvVar{{Name: "A", Value: "b"}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}}},
			VolumeMounts:   []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
		Volumes: []corev1.Volume{{Name: "data"}},
	}}
}
