// Package podrefs lists the Secrets, ConfigMaps and claims that a pod refers to: what its node must read to run it, and all that its
// node may read. It only computes.
package podrefs

import corev1 "k8s.io/api/core/v1"

// Names are names in the pod's own namespace.
type Names struct{ Secrets, ConfigMaps, Claims map[string]bool }

// Of lists what a whole pod refers to.
func Of(pod *corev1.Pod) Names {
	n, spec := none(), &pod.Spec
	for i := range spec.ImagePullSecrets {
		n.secret(spec.ImagePullSecrets[i].Name)
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			n.env(containers[i].EnvFrom, containers[i].Env)
		}
	}
	for i := range spec.EphemeralContainers {
		n.env(spec.EphemeralContainers[i].EnvFrom, spec.EphemeralContainers[i].Env)
	}
	for i := range spec.Volumes {
		n.volume(&spec.Volumes[i].VolumeSource)
		if name := Claim(pod.Name, &spec.Volumes[i]); name != "" {
			n.Claims[name] = true
		}
	}
	return n
}

// Claim is the name of the claim that a volume of a pod is, "" if it is none: its own name, or that of one which is made for the pod
// (upstream: k8s.io/component-helpers/storage/ephemeral, VolumeClaimName).
func Claim(pod string, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return pod + "-" + v.Name
	}
	return ""
}

// OfContainer lists what a container's environment refers to.
func OfContainer(c *corev1.Container) Names {
	n := none()
	n.env(c.EnvFrom, c.Env)
	return n
}

func none() Names {
	return Names{Secrets: map[string]bool{}, ConfigMaps: map[string]bool{}, Claims: map[string]bool{}}
}

func (n Names) secret(name string) {
	if name != "" {
		n.Secrets[name] = true
	}
}

func (n Names) configMap(name string) {
	if name != "" {
		n.ConfigMaps[name] = true
	}
}

func (n Names) env(from []corev1.EnvFromSource, env []corev1.EnvVar) {
	for i := range from {
		if r := from[i].SecretRef; r != nil {
			n.secret(r.Name)
		}
		if r := from[i].ConfigMapRef; r != nil {
			n.configMap(r.Name)
		}
	}
	for i := range env {
		source := env[i].ValueFrom
		if source == nil {
			continue
		}
		if r := source.SecretKeyRef; r != nil {
			n.secret(r.Name)
		}
		if r := source.ConfigMapKeyRef; r != nil {
			n.configMap(r.Name)
		}
	}
}

func (n Names) volume(v *corev1.VolumeSource) {
	if v.Secret != nil {
		n.secret(v.Secret.SecretName)
	}
	if v.ConfigMap != nil {
		n.configMap(v.ConfigMap.Name)
	}
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				n.secret(s.Name)
			}
			if c := v.Projected.Sources[i].ConfigMap; c != nil {
				n.configMap(c.Name)
			}
		}
	}
	if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
		n.secret(v.CSI.NodePublishSecretRef.Name)
	}
}
