package volume

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/spec"
)

// volumeFiles gathers the files of a volume that is made from API objects.
func (mgr *Manager) volumeFiles(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) ([]spec.File, error) {
	switch {
	case v.ConfigMap != nil:
		return mgr.configMapFiles(ctx, pod, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional, v.ConfigMap.DefaultMode)
	case v.Secret != nil:
		return mgr.secretFiles(ctx, pod, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional, v.Secret.DefaultMode)
	case v.DownwardAPI != nil:
		return spec.DownwardFiles(pod, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode, mgr.Node())
	}
	var all []spec.File
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		var files []spec.File
		var err error
		switch {
		case s.ConfigMap != nil:
			files, err = mgr.configMapFiles(ctx, pod, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, v.Projected.DefaultMode)
		case s.Secret != nil:
			files, err = mgr.secretFiles(ctx, pod, s.Secret.Name, s.Secret.Items, s.Secret.Optional, v.Projected.DefaultMode)
		case s.DownwardAPI != nil:
			files, err = spec.DownwardFiles(pod, s.DownwardAPI.Items, v.Projected.DefaultMode, mgr.Node())
		case s.ServiceAccountToken != nil:
			files = make([]spec.File, 1)
			files[0], err = mgr.tokenFile(ctx, pod, tokenKey{v.Name, i}, s.ServiceAccountToken, v.Projected.DefaultMode)
		default:
			err = errors.New("this kind of projected volume source is not supported")
		}
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// gone is the error of a ConfigMap or Secret that is not there.
type gone struct{ error }

// Unwrap is what the API said.
func (g *gone) Unwrap() error { return g.error }

func (mgr *Manager) configMapFiles(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, optional *bool, mode *int32) ([]spec.File, error) {
	got, err := mgr.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	missing := optional != nil && *optional
	if apierrors.IsNotFound(err) {
		mgr.read(pod, ref{name: name}, "")
		if missing {
			return nil, nil
		}
		return nil, &gone{err}
	}
	if err != nil {
		return nil, err
	}
	mgr.read(pod, ref{name: name}, got.ResourceVersion)
	data := map[string][]byte{}
	for k, v := range got.Data {
		data[k] = []byte(v)
	}
	for k, v := range got.BinaryData {
		data[k] = v
	}
	return spec.KeyFiles(data, items, missing, mode)
}

func (mgr *Manager) secretFiles(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, optional *bool, mode *int32) ([]spec.File, error) {
	got, err := mgr.Client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	missing := optional != nil && *optional
	if apierrors.IsNotFound(err) {
		mgr.read(pod, ref{true, name}, "")
		if missing {
			return nil, nil
		}
		return nil, &gone{err}
	}
	if err != nil {
		return nil, err
	}
	mgr.read(pod, ref{true, name}, got.ResourceVersion)
	return spec.KeyFiles(got.Data, items, missing, mode)
}
