package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authv1 "k8s.io/api/authentication/v1"
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
			files, err = mgr.tokenFile(ctx, pod, s.ServiceAccountToken, v.Projected.DefaultMode)
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

func (mgr *Manager) configMapFiles(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, optional *bool, mode *int32) ([]spec.File, error) {
	got, err := mgr.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	missing := optional != nil && *optional
	if apierrors.IsNotFound(err) && missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
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
	if apierrors.IsNotFound(err) && missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return spec.KeyFiles(got.Data, items, missing, mode)
}

// tokenFile asks the API server for a token of the pod's service account, bound to the pod.
func (mgr *Manager) tokenFile(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection, mode *int32) ([]spec.File, error) {
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	answer, err := mgr.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to fetch token: %w", err)
	}
	return []spec.File{{Path: source.Path, Data: []byte(answer.Status.Token), Mode: spec.FileMode(mode, nil)}}, nil
}

// writeFiles fills a volume's directory. Paths that lead out of it are refused by the operating system.
func writeFiles(dir string, files []spec.File, group *int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		path := filepath.Clean(strings.TrimPrefix(f.Path, "/"))
		if parent := filepath.Dir(path); parent != "." {
			if err := root.MkdirAll(parent, 0o755); err != nil {
				return err
			}
		}
		if err := root.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := root.WriteFile(path, f.Data, 0o600); err != nil {
			return err
		}
		mode := os.FileMode(f.Mode)
		if group != nil {
			if err := root.Chown(path, -1, int(*group)); err != nil {
				return err
			}
			mode |= 0o440
		}
		if err := root.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}
