package spec

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/util/sysctl"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Paths of /proc and /sys that a container does not see, or cannot write, unless it is privileged.
var (
	maskedPaths = []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// User is whom a container runs as, by the pod spec or else by the image.
type User struct {
	UID  *int64
	Name string // set when the image names its user
}

// ImageUser reads the user of an image as the runtime reports it.
func ImageUser(image *runtimeapi.Image) User {
	if image == nil {
		return User{}
	}
	if image.Uid != nil {
		return User{UID: &image.Uid.Value}
	}
	return User{Name: image.Username}
}

// Security is the security context of a container: its own settings over the pod's over the image's.
func Security(pod *corev1.Pod, c *corev1.Container, image User) (*runtimeapi.LinuxContainerSecurityContext, error) {
	p, own := pod.Spec.SecurityContext, c.SecurityContext
	if p == nil {
		p = &corev1.PodSecurityContext{}
	}
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions:   namespaces(pod),
		Privileged:         isTrue(own.Privileged),
		ReadonlyRootfs:     isTrue(own.ReadOnlyRootFilesystem),
		NoNewPrivs:         own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation,
		SupplementalGroups: podGroups(p),
		Seccomp:            seccomp(first(own.SeccompProfile, p.SeccompProfile), isTrue(own.Privileged)),
		Apparmor:           apparmor(first(own.AppArmorProfile, p.AppArmorProfile)),
	}
	if own.Capabilities != nil {
		out.Capabilities = &runtimeapi.Capability{AddCapabilities: words(own.Capabilities.Add), DropCapabilities: words(own.Capabilities.Drop)}
	}
	if !out.Privileged { // whatever procMount says: Unmasked asks for a user namespace, which no pod has
		out.MaskedPaths, out.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	uid := first(own.RunAsUser, p.RunAsUser)
	if uid != nil {
		out.RunAsUser = &runtimeapi.Int64Value{Value: *uid}
	} else if image.UID != nil {
		out.RunAsUser = &runtimeapi.Int64Value{Value: *image.UID}
	} else {
		out.RunAsUsername = image.Name
	}
	if gid := first(own.RunAsGroup, p.RunAsGroup); gid != nil {
		out.RunAsGroup = &runtimeapi.Int64Value{Value: *gid}
	}
	if isTrue(first(own.RunAsNonRoot, p.RunAsNonRoot)) {
		if err := nonRoot(pod, c, uid, image); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// words are the names of capabilities as the runtime wants them: without the prefix, which it would put before a second time.
func words(list []corev1.Capability) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
	}
	return out
}

// nonRoot enforces runAsNonRoot with upstream's messages.
func nonRoot(pod *corev1.Pod, c *corev1.Container, uid *int64, image User) error {
	where := fmt.Sprintf("(pod: %q, container: %s)", fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID), c.Name)
	switch {
	case uid != nil && *uid == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
	case uid != nil:
		return nil
	case image.UID != nil && *image.UID == 0, image.UID == nil && image.Name == "":
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case image.UID == nil:
		if _, err := strconv.Atoi(image.Name); err != nil {
			return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Name, where)
		}
	}
	return nil
}

// podGroups are the supplemental groups: the pod's, and the one that owns its volumes.
func podGroups(p *corev1.PodSecurityContext) []int64 {
	groups := slices.Clone(p.SupplementalGroups)
	if p.FSGroup != nil && !slices.Contains(groups, *p.FSGroup) {
		groups = append(groups, *p.FSGroup)
	}
	return groups
}

// SeccompRoot is where the profiles of type Localhost lie on a node (upstream's place).
const SeccompRoot = "/var/lib/kubelet/seccomp"

// seccomp is the filter of a container. Without a profile it is the runtime's (kubelet's --seccomp-default), and so is that of a
// type that this version does not know. Privileged containers are never filtered.
func seccomp(p *corev1.SeccompProfile, privileged bool) *runtimeapi.SecurityProfile {
	switch {
	case privileged || p != nil && p.Type == corev1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	case p != nil && p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(SeccompRoot, filepath.Join("/", *p.LocalhostProfile))}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
}

func apparmor(p *corev1.AppArmorProfile) *runtimeapi.SecurityProfile {
	if p == nil {
		return nil
	}
	switch p.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	case corev1.AppArmorProfileTypeLocalhost:
		profile := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost}
		if p.LocalhostProfile != nil {
			profile.LocalhostRef = *p.LocalhostProfile
		}
		return profile
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
}

// WantsAppArmor tells whether a pod asks for a profile to be enforced.
func WantsAppArmor(pod *corev1.Pod) bool {
	wants := func(p *corev1.AppArmorProfile) bool {
		return p != nil && p.Type != corev1.AppArmorProfileTypeUnconfined
	}
	if s := pod.Spec.SecurityContext; s != nil && wants(s.AppArmorProfile) {
		return true
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if s := list[i].SecurityContext; s != nil && wants(s.AppArmorProfile) {
				return true
			}
		}
	}
	return false
}

// safeSysctls may be set by any pod: the kernel keeps them per namespace and they harm no one else (kubelet's list).
var safeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// ForbiddenSysctl is the message with which a pod is refused that sets a sysctl outside of the safe ones, or "". A pod that
// shares the node's namespace may not set those of it either.
func ForbiddenSysctl(pod *corev1.Pod) string {
	if pod.Spec.SecurityContext == nil {
		return ""
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := sysctl.NormalizeName(s.Name)
		if !slices.Contains(safeSysctls, name) {
			return fmt.Sprintf("forbidden sysctl: %q not allowlisted", s.Name)
		}
		if pod.Spec.HostNetwork && strings.HasPrefix(name, "net.") {
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host net enabled", s.Name)
		}
		if pod.Spec.HostIPC && strings.HasPrefix(name, "kernel.") {
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host ipc enabled", s.Name)
		}
	}
	return ""
}
