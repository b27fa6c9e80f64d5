package node

import (
	"context"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/api/podrefs"
	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

// containerConfig gathers what the container's configuration needs from API, image and disk.
func (a *Agent) containerConfig(ctx context.Context, pod *corev1.Pod, c *corev1.Container, sandbox life.Sandbox, in spec.Inputs) (*runtimeapi.ContainerConfig, error) {
	node := a.node()
	envSources, err := a.envSources(ctx, pod, c)
	if err != nil {
		return nil, err
	}
	if envSources.Files, err = a.volumes.EnvFiles(pod, c); err != nil {
		return nil, err
	}
	if in.Env, err = spec.Env(pod, c, node, envSources); err != nil {
		return nil, err
	}
	in.MessageFile, in.MemoryNode = spec.MessageFile(a.podsDir(), pod, c.Name, in.Attempt), node.Capacity[1]
	if err := writeMessageFile(in.MessageFile); err != nil {
		return nil, err
	}
	if in.Mounts, err = a.volumes.Mounts(pod, c, sandbox.IPs, in.Env, in.MessageFile); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(a.logDir(pod), c.Name), 0o755); err != nil {
		return nil, err
	}
	return spec.Container(pod, c, in)
}

// envSources reads the Services, config maps and secrets a container's environment needs. Services are read at the very start of a
// container, so that every Service made before it is there (rule D8).
func (a *Agent) envSources(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (spec.EnvSources, error) {
	m := spec.EnvSources{ConfigMaps: map[string]*corev1.ConfigMap{}, Secrets: map[string]*corev1.Secret{}}
	kubernetes, err := a.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err == nil {
		m.Kubernetes = kubernetes
	} else if !apierrors.IsNotFound(err) {
		return m, err
	}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		// Version 0: from the API server's memory.
		list, err := a.client.CoreV1().Services(pod.Namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return m, err
		}
		for i := range list.Items {
			m.Services = append(m.Services, &list.Items[i])
		}
	}
	needs := podrefs.OfContainer(c)
	for name := range needs.ConfigMaps {
		got, err := a.client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			m.ConfigMaps[name] = got
		} else if !apierrors.IsNotFound(err) {
			return m, err
		}
	}
	for name := range needs.Secrets {
		got, err := a.client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			m.Secrets[name] = got
		} else if !apierrors.IsNotFound(err) {
			return m, err
		}
	}
	return m, nil
}

// writeMessageFile makes the empty file for a container's last message.
func writeMessageFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // whatever the umask says: the container's user writes it
}
