package api

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func TestFinished(t *testing.T) {
	for phase, want := range map[corev1.PodPhase]bool{
		"": false, corev1.PodPending: false, corev1.PodRunning: false, corev1.PodUnknown: false,
		corev1.PodSucceeded: true, corev1.PodFailed: true,
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{Phase: phase, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
		if got := Finished(pod); got != want {
			t.Errorf("phase %q: finished %v, want %v", phase, got, want)
		}
	}
}

func TestPodReadiness(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	condition := func(kind corev1.PodConditionType, status corev1.ConditionStatus) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(at)}
	}
	for name, c := range map[string]struct {
		conditions []corev1.PodCondition
		ready      bool
		since      time.Time
	}{
		"no condition":             {nil, false, time.Time{}},
		"true":                     {[]corev1.PodCondition{condition(corev1.PodReady, corev1.ConditionTrue)}, true, at},
		"false":                    {[]corev1.PodCondition{condition(corev1.PodReady, corev1.ConditionFalse)}, false, at},
		"unknown":                  {[]corev1.PodCondition{condition(corev1.PodReady, corev1.ConditionUnknown)}, false, at},
		"its containers are":       {[]corev1.PodCondition{condition(corev1.ContainersReady, corev1.ConditionTrue)}, false, time.Time{}},
		"behind another condition": {[]corev1.PodCondition{condition(corev1.PodScheduled, corev1.ConditionFalse), condition(corev1.PodReady, corev1.ConditionTrue)}, true, at},
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: c.conditions}}
		if ready, since := PodReadiness(pod); ready != c.ready || !since.Equal(c.since) || PodReady(pod) != ready {
			t.Errorf("%s: ready %v since %v, want %v since %v", name, ready, since, c.ready, c.since)
		}
	}
}

func TestPodAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		status   corev1.PodStatus
		v4, v6   []string
		unusable []string
	}{
		"none":                {},
		"of both families":    {corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}}, []string{"10.0.0.1"}, []string{"fd00::1"}, nil},
		"the older field":     {corev1.PodStatus{PodIP: "10.0.0.1"}, []string{"10.0.0.1"}, nil, nil},
		"the list goes first": {corev1.PodStatus{PodIP: "10.0.0.9", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}, []string{"10.0.0.1"}, nil, nil},
		"in another form":     {corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "010.0.0.01"}, {IP: "FD00:0::1"}, {IP: "::ffff:10.0.0.2"}}}, []string{"10.0.0.1", "10.0.0.2"}, []string{"fd00::1"}, nil},
		"no address":          {corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "nonsense"}, {IP: ""}}}, nil, nil, []string{"nonsense", ""}},
		"no host": {corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "0.0.0.0"}, {IP: "127.0.0.1"}, {IP: "169.254.0.1"}, {IP: "224.0.0.1"}, {IP: "239.1.2.3"},
			{IP: "255.255.255.255"}, {IP: "::1"}, {IP: "fe80::1"}, {IP: "ff02::1"}, {IP: "fd00::1%eth0"}, {IP: "10.0.0.1"}}}, []string{"10.0.0.1"}, nil,
			[]string{"0.0.0.0", "127.0.0.1", "169.254.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255", "::1", "fe80::1", "ff02::1", "fd00::1%eth0"}},
	} {
		pod := &corev1.Pod{Status: c.status}
		if v4 := PodAddresses(pod, corev1.IPv4Protocol); !slices.Equal(v4, c.v4) {
			t.Errorf("%s: IPv4 %q, want %q", name, v4, c.v4)
		}
		if v6 := PodAddresses(pod, corev1.IPv6Protocol); !slices.Equal(v6, c.v6) {
			t.Errorf("%s: IPv6 %q, want %q", name, v6, c.v6)
		}
		if unusable := UnusablePodAddresses(pod); !slices.Equal(unusable, c.unusable) {
			t.Errorf("%s: unusable %q, want %q", name, unusable, c.unusable)
		}
	}
}

// sidecar is an init container that keeps running.
func sidecar(name string, ports ...corev1.ContainerPort) corev1.Container {
	return corev1.Container{Name: name, Ports: ports, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}
}

func TestServingContainers(t *testing.T) {
	never := corev1.Container{Name: "never", RestartPolicy: ptr.To(corev1.ContainerRestartPolicy("Never"))}
	spec := &corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "init"}, sidecar("side"), never, sidecar("last")},
		Containers:     []corev1.Container{{Name: "a"}, {Name: "b"}},
	}
	var names []string
	for c := range ServingContainers(spec) {
		names = append(names, c.Name)
	}
	if want := []string{"a", "b", "side", "last"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	for stop := range 4 { // a loop may end anywhere
		seen := 0
		for range ServingContainers(spec) {
			if seen == stop {
				break
			}
			seen++
		}
		if seen != stop {
			t.Errorf("%d containers before the end, want %d", seen, stop)
		}
	}
}

func TestQOS(t *testing.T) {
	container := func(requests, limits string) corev1.Container {
		list := func(text string) corev1.ResourceList {
			switch text {
			case "":
				return nil
			case "cpu":
				return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
			case "storage":
				return corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}
			}
			return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse(text)}
		}
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}}
	}
	for name, c := range map[string]struct {
		init, main []corev1.Container
		want       corev1.PodQOSClass
	}{
		"nothing asked":                 {nil, []corev1.Container{container("", "")}, corev1.PodQOSBestEffort},
		"other resources do not count":  {nil, []corev1.Container{container("storage", "storage")}, corev1.PodQOSBestEffort},
		"limits alone":                  {nil, []corev1.Container{container("", "1Gi")}, corev1.PodQOSGuaranteed},
		"requests as limits":            {nil, []corev1.Container{container("1024Mi", "1Gi")}, corev1.PodQOSGuaranteed},
		"requests below limits":         {nil, []corev1.Container{container("512Mi", "1Gi")}, corev1.PodQOSBurstable},
		"requests alone":                {nil, []corev1.Container{container("1Gi", "")}, corev1.PodQOSBurstable},
		"one resource of two":           {nil, []corev1.Container{container("cpu", "cpu")}, corev1.PodQOSBurstable},
		"one container of two":          {nil, []corev1.Container{container("1Gi", "1Gi"), container("", "")}, corev1.PodQOSBurstable},
		"an init container without":     {[]corev1.Container{container("", "")}, []corev1.Container{container("1Gi", "1Gi")}, corev1.PodQOSBurstable},
		"an init container alone asks":  {[]corev1.Container{container("cpu", "")}, []corev1.Container{container("", "")}, corev1.PodQOSBurstable},
		"all of them, init and main":    {[]corev1.Container{container("1Gi", "1Gi")}, []corev1.Container{container("2Gi", "2Gi")}, corev1.PodQOSGuaranteed},
		"a request for more than limit": {nil, []corev1.Container{container("2Gi", "1Gi")}, corev1.PodQOSBurstable},
	} {
		if got := QOS(&corev1.PodSpec{InitContainers: c.init, Containers: c.main}); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestTargetPort(t *testing.T) {
	web := func(number int32, protocol corev1.Protocol) corev1.ContainerPort {
		return corev1.ContainerPort{Name: "web", ContainerPort: number, Protocol: protocol}
	}
	main := func(ports ...corev1.ContainerPort) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}}}
	}
	named := func(protocol corev1.Protocol) corev1.ServicePort {
		return corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("web"), Protocol: protocol}
	}
	beside := main(web(8081, "UDP"))
	beside.Spec.InitContainers = []corev1.Container{{Ports: []corev1.ContainerPort{web(8082, "TCP")}}, sidecar("s", web(8083, "TCP"))}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		port corev1.ServicePort
		want int32 // 0: it does not offer the port
	}{
		"a number":                          {main(), corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)}, 8080},
		"nothing said":                      {main(), corev1.ServicePort{Port: 80}, 80},
		"an empty name":                     {main(), corev1.ServicePort{Port: 80, TargetPort: intstr.FromString("")}, 80},
		"a name":                            {main(web(8080, "TCP")), named("TCP"), 8080},
		"a name that no container has":      {main(corev1.ContainerPort{Name: "db", ContainerPort: 3306}), named("TCP"), 0},
		"a name for another protocol":       {main(web(8080, "UDP")), named("TCP"), 0},
		"TCP where nothing is said":         {main(web(8080, "")), named("TCP"), 8080},
		"TCP where the Service says none":   {main(web(8080, "TCP")), named(""), 8080},
		"the first of two":                  {main(web(8080, "TCP"), web(9090, "TCP")), named("TCP"), 8080},
		"a sidecar's, not a finished one's": {beside, named("TCP"), 8083},
		"a main container's first":          {beside, named("UDP"), 8081},
	} {
		if got, ok := TargetPort(c.pod, &c.port); got != c.want || ok != (c.want != 0) {
			t.Errorf("%s: %d %v, want %d", name, got, ok, c.want)
		}
	}
}
