package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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
	return mgr.projectedFiles(ctx, pod, v)
}

// projectedFiles gathers the files of all sources, though one has none, so that tokens are renewed whatever else is missing. What is
// wrong is said before what is missing.
func (mgr *Manager) projectedFiles(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) ([]spec.File, error) {
	var all []spec.File
	var wrong, missing error
	for i := range v.Projected.Sources {
		files, err := mgr.sourceFiles(ctx, pod, v, i)
		var none *gone
		switch {
		case errors.As(err, &none):
			missing = cmp.Or(missing, err)
		case err != nil:
			wrong = cmp.Or(wrong, err)
		}
		all = append(all, files...)
	}
	return all, cmp.Or(wrong, missing)
}

func (mgr *Manager) sourceFiles(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, i int) ([]spec.File, error) {
	s, mode := &v.Projected.Sources[i], v.Projected.DefaultMode
	switch {
	case s.ConfigMap != nil:
		return mgr.configMapFiles(ctx, pod, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, mode)
	case s.Secret != nil:
		return mgr.secretFiles(ctx, pod, s.Secret.Name, s.Secret.Items, s.Secret.Optional, mode)
	case s.DownwardAPI != nil:
		return spec.DownwardFiles(pod, s.DownwardAPI.Items, mode, mgr.Node())
	case s.ServiceAccountToken != nil:
		file, err := mgr.tokenFile(ctx, pod, tokenKey{v.Name, i}, s.ServiceAccountToken, mode)
		return []spec.File{file}, err
	case s.ClusterTrustBundle != nil:
		return mgr.anchorFiles(ctx, pod, s.ClusterTrustBundle, mode)
	case s.PodCertificate != nil:
		return mgr.certificateFiles(ctx, pod, v.Name, i, mode)
	}
	return nil, errors.New("this kind of projected volume source is not supported")
}

// anchorFiles is the file of a trust bundle. One that is gone stays for a pod that runs.
func (mgr *Manager) anchorFiles(ctx context.Context, pod *corev1.Pod, p *corev1.ClusterTrustBundleProjection, mode *int32) ([]spec.File, error) {
	anchors, err := mgr.Sources.TrustAnchors(ctx, p)
	if err != nil {
		return nil, &gone{err}
	}
	file := spec.PrivateFile(pod, p.Path, mode)
	file.Data = anchors
	return []spec.File{file}, nil
}

// certificateFiles are those of a certificate. A pod that runs keeps what it has, until there is another.
func (mgr *Manager) certificateFiles(ctx context.Context, pod *corev1.Pod, volume string, source int, mode *int32) ([]spec.File, error) {
	key, chain, err := mgr.Sources.Certificate(ctx, pod, volume, source)
	if err != nil {
		return nil, &gone{err}
	}
	var files []spec.File
	p := find(pod, volume).Projected.Sources[source].PodCertificate
	for _, of := range []struct {
		path string
		data []byte
	}{{p.CredentialBundlePath, slices.Concat(key, chain)}, {p.KeyPath, key}, {p.CertificateChainPath, chain}} {
		if of.path == "" {
			continue
		}
		file := spec.PrivateFile(pod, of.path, mode)
		file.Data = of.data
		files = append(files, file)
	}
	return files, nil
}

// gone is the error of what is not there, or not yet. What was made from it before stays.
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
		return nil, &gone{fmt.Errorf("configmap %q not found", name)} // kubelet's words
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
		return nil, &gone{fmt.Errorf("secret %q not found", name)}
	}
	if err != nil {
		return nil, err
	}
	mgr.read(pod, ref{true, name}, got.ResourceVersion)
	return spec.KeyFiles(got.Data, items, missing, mode)
}
