package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/node/util/sysctl"
	"k8s.io/utils/ptr"
)

// validatePodSecurity checks what holds for all containers of a pod.
func validatePodSecurity(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	s := spec.SecurityContext
	if s == nil {
		return nil
	}
	errs := validateUser(s.RunAsUser, path.Child("runAsUser"))
	errs = append(errs, validateGroup(s.RunAsGroup, path.Child("runAsGroup"))...)
	errs = append(errs, validateGroup(s.FSGroup, path.Child("fsGroup"))...)
	for i := range s.SupplementalGroups {
		errs = append(errs, validateGroup(&s.SupplementalGroups[i], path.Child("supplementalGroups").Index(i))...)
	}
	if ptr.Deref(spec.ShareProcessNamespace, false) && spec.HostPID {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	errs = append(errs, validateSysctls(spec, s.Sysctls, path.Child("sysctls"))...)
	errs = append(errs, optionalOneOf(path.Child("fsGroupChangePolicy"), s.FSGroupChangePolicy,
		corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	errs = append(errs, optionalOneOf(path.Child("supplementalGroupsPolicy"), s.SupplementalGroupsPolicy,
		corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	errs = append(errs, optionalOneOf(path.Child("seLinuxChangePolicy"), s.SELinuxChangePolicy,
		corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)...)
	errs = append(errs, validateSeccomp(s.SeccompProfile, path.Child("seccompProfile"))...)
	return append(errs, validateAppArmor(s.AppArmorProfile, path.Child("appArmorProfile"))...)
}

// validateSecurity checks the security context of one container.
func validateSecurity(s *corev1.SecurityContext, path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := validateUser(s.RunAsUser, path.Child("runAsUser"))
	errs = append(errs, validateGroup(s.RunAsGroup, path.Child("runAsGroup"))...)
	if at := path.Child("procMount"); s.ProcMount != nil {
		errs = append(errs, oneOf(at, *s.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if *s.ProcMount == corev1.UnmaskedProcMount { // a pod here never has user namespaces of its own
			errs = append(errs, field.Invalid(at, *s.ProcMount, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	errs = append(errs, validateSeccomp(s.SeccompProfile, path.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(s.AppArmorProfile, path.Child("appArmorProfile"))...)
	if ptr.Deref(s.Privileged, false) && !ptr.Deref(s.AllowPrivilegeEscalation, true) {
		errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
	}
	if s.Capabilities == nil {
		return errs
	}
	if !ptr.Deref(s.AllowPrivilegeEscalation, true) && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
		errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
	}
	errs = append(errs, validateCapabilities(s.Capabilities.Add, path.Child("capabilities", "add"))...)
	return append(errs, validateCapabilities(s.Capabilities.Drop, path.Child("capabilities", "drop"))...)
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

func validateCapabilities(names []corev1.Capability, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range names {
		plain := corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(name)), "CAP_"))
		if !slices.Contains(capabilities, plain) {
			errs = append(errs, field.NotSupported(path.Index(i), name, capabilities))
		}
	}
	return errs
}

func validateSeccomp(p *corev1.SeccompProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	if at := path.Child("type"); p.Type == "" {
		errs = append(errs, field.Required(at, "type is required when seccompProfile is set"))
	} else {
		errs = append(errs, oneOf(at, p.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)...)
	}
	switch at := path.Child("localhostProfile"); {
	case p.Type != corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil:
		errs = append(errs, field.Invalid(at, p, "can only be set when seccomp type is Localhost"))
	case p.Type == corev1.SeccompProfileTypeLocalhost && ptr.Deref(p.LocalhostProfile, "") == "":
		errs = append(errs, field.Required(at, "must be set when seccomp type is Localhost"))
	case p.Type == corev1.SeccompProfileTypeLocalhost:
		errs = append(errs, validateRelativePath(*p.LocalhostProfile, at)...)
	}
	return errs
}

func validateAppArmor(p *corev1.AppArmorProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	const longest = 4095 // a path of the kernel
	at, name := path.Child("localhostProfile"), ptr.Deref(p.LocalhostProfile, "")
	switch p.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		switch {
		case name != strings.TrimSpace(name):
			return field.ErrorList{field.Invalid(at, name, "must not be padded with whitespace")}
		case name == "":
			return field.ErrorList{field.Required(at, "must be set when AppArmor type is Localhost")}
		case len(name) > longest:
			return field.ErrorList{field.TooLong(at, "", longest)}
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			return field.ErrorList{field.Invalid(at, name, "can only be set when AppArmor type is Localhost")}
		}
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "type is required when appArmorProfile is set")}
	default:
		return oneOf(path.Child("type"), p.Type, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	}
	return nil
}

// sysctlName is the form of a sysctl's name: parts between dots or slashes.
var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

func validateSysctls(spec *corev1.PodSpec, sysctls []corev1.Sysctl, path *field.Path) field.ErrorList {
	const longest = 253
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, s := range sysctls {
		at := path.Index(i).Child("name")
		switch plain := sysctl.NormalizeName(s.Name); {
		case s.Name == "":
			errs = append(errs, field.Required(at, ""))
		case len(s.Name) > longest || !sysctlName.MatchString(s.Name):
			errs = append(errs, field.Invalid(at, s.Name, fmt.Sprintf("must have at most %d characters and match regex %s", longest, sysctlName)))
		case seen[plain]:
			errs = append(errs, field.Duplicate(at, s.Name))
		default:
			seen[plain] = true
		}
		switch space, _, _ := sysctl.GetNamespace(s.Name); {
		case spec.HostNetwork && space == sysctl.NetNamespace:
			errs = append(errs, field.Invalid(at, s.Name, "may not be specified when 'hostNetwork' is true"))
		case spec.HostIPC && space == sysctl.IPCNamespace:
			errs = append(errs, field.Invalid(at, s.Name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return errs
}

func validateUser(id *int64, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return invalid(path, *id, validation.IsValidUserID(*id))
}

func validateGroup(id *int64, path *field.Path) field.ErrorList {
	if id == nil {
		return nil
	}
	return invalid(path, *id, validation.IsValidGroupID(*id))
}
