package registry

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	v1helper "k8s.io/kubernetes/pkg/apis/core/v1/helper"
)

// refuseInContainers finds what is refused by where it stands or by a part of its value, and so is in no table of fields.
func refuseInContainers(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range spec.InitContainers {
		c, at := &spec.InitContainers[i], path.Child("initContainers").Index(i)
		errs = append(errs, refuseInContainer(c.SecurityContext, &c.Resources, at)...)
	}
	for i := range spec.Containers {
		c, at := &spec.Containers[i], path.Child("containers").Index(i)
		errs = append(errs, refuseInContainer(c.SecurityContext, &c.Resources, at)...)
	}
	for i := range spec.EphemeralContainers {
		c := &spec.EphemeralContainers[i]
		errs = append(errs, refuseInContainer(c.SecurityContext, &c.Resources, path.Child("ephemeralContainers").Index(i))...)
	}
	return errs
}

func refuseInContainer(s *corev1.SecurityContext, r *corev1.ResourceRequirements, path *field.Path) field.ErrorList {
	errs := refuseHugePages(r.Limits, path.Child("resources", "limits"))
	errs = append(errs, refuseHugePages(r.Requests, path.Child("resources", "requests"))...)
	if s == nil || s.Capabilities == nil {
		return errs
	}
	errs = append(errs, unknownCapabilities(s.Capabilities.Add, path.Child("securityContext", "capabilities", "add"))...)
	return append(errs, unknownCapabilities(s.Capabilities.Drop, path.Child("securityContext", "capabilities", "drop"))...)
}

// refuseHugePages refuses memory in huge pages, in an order that does not change.
func refuseHugePages(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name := range list {
		if v1helper.IsHugePageResourceName(name) {
			errs = append(errs, field.Forbidden(path.Key(string(name)), "huge pages are not supported"))
		}
	}
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return errs
}

// capabilities are those of the kernel. Upstream hands any name on, and the runtime drops the ones it does not know
// without a word: a pod that drops NET_RAWW would keep NET_RAW.
var capabilities = []corev1.Capability{
	"ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
	"DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
	"MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
	"SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE",
	"SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
}

func unknownCapabilities(names []corev1.Capability, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range names {
		plain := corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(name)), "CAP_"))
		if !slices.Contains(capabilities, plain) {
			errs = append(errs, field.NotSupported(path.Index(i), name, capabilities))
		}
	}
	return errs
}
