package registry

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api"
)

// validateContainers checks the containers of a pod one by one and their names and host ports together. volumes are the
// names of the pod's volumes.
func validateContainers(spec *corev1.PodSpec, volumes map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	check := func(c *corev1.Container, at *field.Path) {
		errs = append(errs, validateContainer(spec, c, volumes, at)...)
		if c.Name != "" && names[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
	}
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), ""))
	}
	hostPorts := map[string]bool{}
	for i := range spec.Containers {
		c, at := &spec.Containers[i], path.Child("containers").Index(i)
		check(c, at)
		errs = append(errs, validateServing(spec, c, at)...)
		errs = append(errs, validateHostPorts(c.Ports, hostPorts, at.Child("ports"))...)
		if c.RestartPolicy != nil {
			errs = append(errs, field.Forbidden(at.Child("restartPolicy"), "may not be set for non-init containers"))
		}
	}
	for i := range spec.InitContainers {
		c, at := &spec.InitContainers[i], path.Child("initContainers").Index(i)
		check(c, at)
		errs = append(errs, optionalOneOf(at.Child("restartPolicy"), c.RestartPolicy, corev1.ContainerRestartPolicyAlways)...)
		if api.Sidecar(c) {
			errs = append(errs, validateServing(spec, c, at)...)
			errs = append(errs, validateHostPorts(c.Ports, hostPorts, at.Child("ports"))...)
			continue
		}
		errs = append(errs, refuseProbes(c, at)...)
	}
	return errs
}

func validateContainer(spec *corev1.PodSpec, c *corev1.Container, volumes map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		errs = append(errs, validateLabel(path.Child("name"), c.Name)...)
	}
	switch {
	case c.Image == "":
		errs = append(errs, field.Required(path.Child("image"), ""))
	case c.Image != strings.TrimSpace(c.Image):
		errs = append(errs, field.Invalid(path.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, requiredOneOf(path.Child("imagePullPolicy"), c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, requiredOneOf(path.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageFallbackToLogsOnError, corev1.TerminationMessageReadFile)...)
	errs = append(errs, validateContainerPorts(spec, c.Ports, path.Child("ports"))...)
	errs = append(errs, validateEnv(c.Env, path.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, path.Child("envFrom"))...)
	errs = append(errs, validateMounts(c, volumes, path.Child("volumeMounts"))...)
	errs = append(errs, validateResources(&c.Resources, path.Child("resources"))...)
	errs = append(errs, validateResize(spec, c.ResizePolicy, path.Child("resizePolicy"))...)
	return append(errs, validateSecurity(c.SecurityContext, path.Child("securityContext"))...)
}

func validateContainerPorts(spec *corev1.PodSpec, ports []corev1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range ports {
		port, at := &ports[i], path.Index(i)
		if port.Name != "" {
			bad := validation.IsValidPortName(port.Name)
			errs = append(errs, invalid(at.Child("name"), port.Name, bad)...)
			if len(bad) == 0 && names[port.Name] {
				errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
			}
			names[port.Name] = true
		}
		if port.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, validatePort(at.Child("containerPort"), port.ContainerPort)...)
		}
		if port.HostPort != 0 {
			errs = append(errs, validatePort(at.Child("hostPort"), port.HostPort)...)
		}
		if spec.HostNetwork && port.HostPort != 0 && port.HostPort != port.ContainerPort {
			errs = append(errs, field.Invalid(at.Child("containerPort"), port.ContainerPort, "must match `hostPort` when `hostNetwork` is true"))
		}
		errs = append(errs, validateProtocol(at.Child("protocol"), port.Protocol)...)
	}
	return errs
}

// validateHostPorts finds two ports of a pod that want the same port of the host (rule D15). seen is carried from
// container to container.
func validateHostPorts(ports []corev1.ContainerPort, seen map[string]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, port := range ports {
		if port.HostPort == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
		if seen[key] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("hostPort"), key))
		}
		seen[key] = true
	}
	return errs
}
