package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ephemeral is the row of pods for the ephemeralcontainers subresource (KEP-277), by which kubectl debug adds a
// container to a running pod. Nothing else of the pod changes.
func ephemeral() *kind[*corev1.Pod] {
	k := pods()
	k.prepareUpdate = func(_ context.Context, pod, old *corev1.Pod) {
		added := pod.Spec.EphemeralContainers
		meta := pod.ObjectMeta
		*pod = *old.DeepCopy()
		pod.ResourceVersion, pod.ManagedFields = meta.ResourceVersion, meta.ManagedFields
		pod.Spec.EphemeralContainers = added
		if !samePodSpec(&pod.Spec, &old.Spec) {
			pod.Generation = old.Generation + 1
		}
	}
	k.validateUpdate = validateEphemeral
	return k
}

// validateEphemeral checks that containers are only added, and each one of them.
func validateEphemeral(_ context.Context, pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec", "ephemeralContainers")
	now, was := pod.Spec.EphemeralContainers, old.Spec.EphemeralContainers
	before := map[string]*corev1.EphemeralContainer{}
	for i := range was {
		before[was[i].Name] = &was[i]
	}
	names, others, volumes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range pod.Spec.Volumes {
		volumes[pod.Spec.Volumes[i].Name] = true
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			names[containers[i].Name], others[containers[i].Name] = true, true
		}
	}
	errs := refuseUndone(&corev1.PodSpec{EphemeralContainers: now}, field.NewPath("spec"))
	for i := range now {
		c, at := corev1.Container(now[i].EphemeralContainerCommon), path.Index(i)
		errs = append(errs, validateContainer(&pod.Spec, &c, volumes, at)...)
		if names[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
		if previous := before[c.Name]; previous != nil && !equality.Semantic.DeepEqual(*previous, now[i]) {
			errs = append(errs, field.Forbidden(path, "existing ephemeral containers \""+c.Name+"\" may not be changed\n"))
		}
		delete(before, c.Name)
		if target := now[i].TargetContainerName; target != "" && !others[target] {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), target))
		}
		errs = append(errs, refuseForEphemeral(&c, at)...)
	}
	for i := range was {
		if before[was[i].Name] != nil {
			errs = append(errs, field.Forbidden(path, "existing ephemeral containers \""+was[i].Name+"\" may not be removed\n"))
		}
	}
	return errs
}

// refuseForEphemeral says what a container that is there to look at the others may not have.
func refuseForEphemeral(c *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"ports", len(c.Ports) > 0}, {"resources", len(c.Resources.Limits)+len(c.Resources.Requests) > 0}, {"lifecycle", c.Lifecycle != nil},
		{"livenessProbe", c.LivenessProbe != nil}, {"readinessProbe", c.ReadinessProbe != nil}, {"startupProbe", c.StartupProbe != nil},
		{"restartPolicy", c.RestartPolicy != nil}, {"resizePolicy", len(c.ResizePolicy) > 0},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), "cannot be set for an Ephemeral Container"))
		}
	}
	for i, m := range c.VolumeMounts {
		if m.SubPath != "" {
			errs = append(errs, field.Forbidden(path.Child("volumeMounts").Index(i).Child("subPath"), "cannot be set for an Ephemeral Container"))
		}
		if m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(path.Child("volumeMounts").Index(i).Child("subPathExpr"), "cannot be set for an Ephemeral Container"))
		}
	}
	return errs
}
