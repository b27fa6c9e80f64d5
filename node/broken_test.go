package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// broken is a pod that cannot run as it asks to, with what is told of it.
type broken struct {
	name string
	make func(p *corev1.Pod, c *corev1.Container)

	phase  corev1.PodPhase
	reason string // of the pod
	state  string // of the container, as stateOf writes it; *: any
	event  string // reason: message, or the beginning
}

// stateOf is a container's state in a word or two.
func stateOf(s corev1.ContainerStatus) string {
	switch {
	case s.State.Waiting != nil:
		return "waiting " + s.State.Waiting.Reason
	case s.State.Terminated != nil:
		return fmt.Sprintf("ended %s %d", s.State.Terminated.Reason, s.State.Terminated.ExitCode)
	case s.State.Running != nil:
		return "running"
	}
	return "nothing"
}

func envFrom(source corev1.EnvVarSource) func(*corev1.Pod, *corev1.Container) {
	return func(_ *corev1.Pod, c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &source}} }
}

func mounting(source corev1.VolumeSource) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, c *corev1.Container) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	}
}

func once(args ...string) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, c *corev1.Container) {
		c.Args, p.Spec.RestartPolicy = args, corev1.RestartPolicyNever
	}
}

func sysctl(name, value string) func(*corev1.Pod, *corev1.Container) {
	return func(p *corev1.Pod, _ *corev1.Container) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: name, Value: value}}}
	}
}

func port(p *corev1.Pod, c *corev1.Container) {
	c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 28080}}
}

var nothing = corev1.LocalObjectReference{Name: "nothing"}

// brokenPods are told of as upstream does.
var brokenPods = []broken{
	{"sysctl-unknown", sysctl("net.nothing", "1"), corev1.PodFailed, "SysctlForbidden", "", `SysctlForbidden: forbidden sysctl: "net.nothing" not allowlisted`},
	{"sysctl-of-the-host", sysctl("kernel.msgmax", "65536"), corev1.PodFailed, "SysctlForbidden", "", `SysctlForbidden: forbidden sysctl: "kernel.msgmax" not allowlisted`},
	{"sysctl-nonsense", sysctl("net.ipv4.ip_local_port_range", "x"), corev1.PodPending, "", "waiting ContainerCreating", "FailedCreatePodSandBox: Failed to create pod sandbox: "},
	{"port-taken", port, corev1.PodFailed, "NodePorts", "", "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
	{"memory-of-1000-gib", func(_ *corev1.Pod, c *corev1.Container) {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1000Gi")}
	}, corev1.PodFailed, "OutOfmemory", "", "OutOfmemory: Node didn't have enough resource: memory, requested: 1073741824000, used: "},
	{"a-thousand-processors", func(_ *corev1.Pod, c *corev1.Container) {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000")}
	}, corev1.PodFailed, "OutOfcpu", "", "OutOfcpu: Node didn't have enough resource: cpu, requested: 1000000, used: "},
	{"secret-missing", envFrom(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: nothing, Key: "k"}}),
		corev1.PodPending, "", "waiting CreateContainerConfigError", `Failed: Error: secret "nothing" not found`},
	{"config-missing", envFrom(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: nothing, Key: "k"}}),
		corev1.PodPending, "", "waiting CreateContainerConfigError", `Failed: Error: configmap "nothing" not found`},
	{"key-missing", envFrom(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Key: "k"}}),
		corev1.PodPending, "", "waiting CreateContainerConfigError", "Failed: Error: couldn't find key k in ConfigMap default/kube-root-ca.crt"},
	{"volume-without-secret", mounting(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "nothing"}}),
		corev1.PodPending, "", "waiting ContainerCreating", `FailedMount: MountVolume.SetUp failed for volume "v" : secret "nothing" not found`},
	{"volume-without-path", mounting(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nothing/at/all", Type: ptr.To(corev1.HostPathDirectory)}}),
		corev1.PodPending, "", "waiting ContainerCreating", `FailedMount: MountVolume.SetUp failed for volume "v" : hostPath type check failed: /nothing/at/all is not a directory`},
	{"path-out-of-the-volume", func(p *corev1.Pod, c *corev1.Container) {
		mounting(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})(p, c)
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: appImage, Args: []string{"link", "/etc", "/v/out"}, VolumeMounts: c.VolumeMounts}}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "out"}}
	}, corev1.PodPending, "", "waiting CreateContainerConfigError", `Failed: Error: failed to prepare subPath for volumeMount "v"`},
	{"image-unreachable", func(_ *corev1.Pod, c *corev1.Container) { c.Image = "127.0.0.1:1/nothing:1" },
		corev1.PodPending, "", "waiting ImagePullBackOff", `BackOff: Back-off pulling image "127.0.0.1:1/nothing:1"`},
	{"image-never-pulled", func(_ *corev1.Pod, c *corev1.Container) {
		c.Image, c.ImagePullPolicy = "example.org/nothing:1", corev1.PullNever
	}, corev1.PodPending, "", "waiting ErrImageNeverPull", "Failed: Error: ErrImageNeverPull"},
	{"image-misnamed", func(_ *corev1.Pod, c *corev1.Container) { c.Image = "Example/App:1" },
		corev1.PodPending, "", "waiting InvalidImageName", `InspectFailed: Failed to apply default image tag "Example/App:1": couldn't parse image name "Example/App:1": invalid reference format`},
	{"program-missing", func(_ *corev1.Pod, c *corev1.Container) { c.Command = []string{"/nothing"} },
		corev1.PodRunning, "", "waiting CrashLoopBackOff", "Failed: Error: "},
	{"root-forbidden", func(_ *corev1.Pod, c *corev1.Container) {
		c.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: ptr.To(true)}
	}, corev1.PodPending, "", "waiting CreateContainerConfigError", "Failed: Error: container has runAsNonRoot and image will run as root"},
	{"profile-missing", func(_ *corev1.Pod, c *corev1.Container) {
		c.SecurityContext = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr.To("nothing.json")}}
	}, corev1.PodPending, "", "waiting CreateContainerError", "Failed: Error: "},
	{"handler-missing", func(p *corev1.Pod, _ *corev1.Container) { p.Spec.RuntimeClassName = ptr.To("nothing") },
		corev1.PodPending, "", "waiting ContainerCreating", "FailedCreatePodSandBox: Failed to create pod sandbox: "},
	{"crashing", func(_ *corev1.Pod, c *corev1.Container) { c.Args = []string{"exit", "3", "bye"} },
		corev1.PodRunning, "", "waiting CrashLoopBackOff", "BackOff: Back-off restarting failed container c in pod crashing_default("},
	{"out-of-memory", func(p *corev1.Pod, c *corev1.Container) {
		once("eat")(p, c)
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
	}, corev1.PodFailed, "", "ended OOMKilled 137", "Started: Container started"},
	{"hook-failing", func(p *corev1.Pod, c *corev1.Container) {
		once("wait")(p, c)
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/app", "exit", "1"}}}}
	}, corev1.PodFailed, "", "ended Error 2", "FailedPostStartHook: PostStartHook failed"},
	{"hook-of-tcp", func(p *corev1.Pod, c *corev1.Container) {
		once("wait")(p, c)
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}}
	}, corev1.PodFailed, "", "ended Error 2", "FailedPostStartHook: PostStartHook failed"},
	{"init-failing", func(p *corev1.Pod, c *corev1.Container) {
		once("wait")(p, c)
		p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: appImage, Args: []string{"exit", "1"}}}
	}, corev1.PodFailed, "", "waiting PodInitializing", "Started: Container started"},
	{"overdue", func(p *corev1.Pod, _ *corev1.Container) { p.Spec.ActiveDeadlineSeconds = ptr.To(int64(1)) },
		corev1.PodFailed, "DeadlineExceeded", "*", "DeadlineExceeded: Pod was active on the node longer than the specified deadline"},
	{"never-ready", func(_ *corev1.Pod, c *corev1.Container) { c.ReadinessProbe = httpProbe("/readyz") },
		corev1.PodRunning, "", "running", "Unhealthy: Readiness probe failed: Get \"http://"},
	{"forking", once("fork", "300"), corev1.PodRunning, "", "running", "Started: Container started"},
	{"talking", once("talk", "32"), corev1.PodRunning, "", "running", "Started: Container started"},
	{"stubborn", once("stubborn"), corev1.PodRunning, "", "running", "Started: Container started"},
}

// TestBrokenPods: each kind of broken pod is told of in upstream's words, and a pod beside them all is none the worse. When they are deleted
// nothing of them remains.
func TestBrokenPods(t *testing.T) {
	b := newBench(t)
	if _, err := b.client.NodeV1().RuntimeClasses().Create(b.ctx, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "nothing"}, Handler: "nothing"}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	well := pod("well", "serve")
	well.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	port(well, &well.Spec.Containers[0])
	b.create(well)
	b.await("well", "ready", ready)
	for _, row := range brokenPods {
		p := pod(row.name, "wait")
		p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
		row.make(p, &p.Spec.Containers[0])
		b.create(p)
	}
	for _, row := range brokenPods {
		t.Run(row.name, func(t *testing.T) {
			b := *b
			b.t = t
			got := b.await(row.name, "as told", func(p *corev1.Pod) bool {
				state := ""
				if len(p.Status.ContainerStatuses) > 0 {
					state = stateOf(p.Status.ContainerStatuses[0])
				}
				return p.Status.Phase == row.phase && p.Status.Reason == row.reason && (state == row.state || row.state == "*")
			})
			b.awaitEvent(row.name, row.event)
			if row.reason != "" && row.reason != "DeadlineExceeded" && !strings.HasPrefix(got.Status.Message, "Pod was rejected: ") {
				t.Errorf("message %q", got.Status.Message)
			}
		})
	}
	if got := b.get("well"); !ready(got) || got.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod beside them: %+v", got.Status)
	}
	for _, row := range brokenPods {
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, row.name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	for _, row := range brokenPods {
		b.gone(row.name)
	}
	b.until("nothing remains of their files", func() bool {
		files, err := filepath.Glob(b.cfg.Dir + "/pods/*")
		return err == nil && len(files) == 1
	})
	b.nothingOf(t, "any of them")
}
