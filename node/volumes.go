package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/node/spec"
)

// mountError is a volume that cannot be set up.
type mountError struct {
	volume string
	err    error
}

func (e *mountError) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", e.volume, e.err)
}

func (a *Agent) volumeDir(pod *corev1.Pod, name string) string {
	return filepath.Join(a.podDir(pod), "volumes", name)
}

// setupVolumes makes the pod's volumes. Those that exist already, from an earlier sandbox, keep their content.
func (a *Agent) setupVolumes(ctx context.Context, pod *corev1.Pod) error {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := a.setupVolume(ctx, pod, v); err != nil {
			return &mountError{v.Name, err}
		}
	}
	return nil
}

func (a *Agent) setupVolume(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	dir := a.volumeDir(pod, v.Name)
	switch {
	case v.HostPath != nil:
		return checkHostPath(v.HostPath)
	case v.EmptyDir != nil:
		return a.emptyDir(pod, v.EmptyDir, dir)
	case v.ConfigMap != nil, v.Secret != nil, v.DownwardAPI != nil, v.Projected != nil:
		files, err := a.volumeFiles(ctx, pod, v)
		if err != nil {
			return err
		}
		return writeFiles(dir, files, fsGroup(pod))
	}
	return errors.New("this kind of volume is not supported: use emptyDir, hostPath, configMap, secret, downwardAPI or projected")
}

func fsGroup(pod *corev1.Pod) *int64 {
	if s := pod.Spec.SecurityContext; s != nil {
		return s.FSGroup
	}
	return nil
}

// emptyDir makes a directory that every user may write, on disk or in memory.
func (a *Agent) emptyDir(pod *corev1.Pod, source *corev1.EmptyDirVolumeSource, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if source.Medium == corev1.StorageMediumMemory {
		options := "mode=1777"
		if source.SizeLimit != nil {
			options += fmt.Sprintf(",size=%d", source.SizeLimit.Value())
		}
		err := a.rt.InMounts(func() error {
			if !mounted(dir) {
				if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
					return err
				}
			}
			return give(dir, fsGroup(pod), 0o777|os.ModeSticky)
		})
		if err != nil {
			return fmt.Errorf("tmpfs: %w", err)
		}
		return nil
	}
	return give(dir, fsGroup(pod), 0o777)
}

// give lets a directory belong to the pod's group, as will what is made in it.
func give(dir string, group *int64, mode os.FileMode) error {
	if group != nil {
		if err := os.Chown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

// mounted tells whether a directory is the root of a tmpfs of its own.
func mounted(dir string) bool {
	var self, parent unix.Stat_t
	return unix.Stat(dir, &self) == nil && unix.Stat(filepath.Dir(dir), &parent) == nil && self.Dev != parent.Dev
}

// unmountVolumes takes down what was mounted below a pod's directory: volumes in memory and parts of volumes.
func (a *Agent) unmountVolumes(podDir string) error {
	dirs, err := filepath.Glob(filepath.Join(podDir, "volumes", "*"))
	if err != nil {
		return err
	}
	parts, err := filepath.Glob(filepath.Join(podDir, "subpaths", "*", "*"))
	if err != nil || len(dirs)+len(parts) == 0 {
		return err
	}
	return a.rt.InMounts(func() error {
		var failed []error
		for _, part := range parts {
			failed = append(failed, unbind(part))
		}
		for _, dir := range dirs {
			if mounted(dir) {
				failed = append(failed, unix.Unmount(dir, unix.MNT_DETACH))
			}
		}
		return errors.Join(failed...)
	})
}

// checkHostPath verifies the type of a host path, and creates it where the type says so.
func checkHostPath(h *corev1.HostPathVolumeSource) error {
	if h.Type == nil || *h.Type == corev1.HostPathUnset {
		return nil
	}
	info, err := os.Stat(h.Path)
	exists := err == nil
	switch *h.Type {
	case corev1.HostPathDirectoryOrCreate:
		if !exists {
			return os.MkdirAll(h.Path, 0o755)
		}
		return unless(info.IsDir(), h, "a directory")
	case corev1.HostPathFileOrCreate:
		if !exists {
			return os.WriteFile(h.Path, nil, 0o644)
		}
		return unless(info.Mode().IsRegular(), h, "a file")
	case corev1.HostPathDirectory:
		return unless(exists && info.IsDir(), h, "a directory")
	case corev1.HostPathFile:
		return unless(exists && info.Mode().IsRegular(), h, "a file")
	case corev1.HostPathSocket:
		return unless(exists && info.Mode()&os.ModeSocket != 0, h, "a socket")
	case corev1.HostPathCharDev:
		return unless(exists && info.Mode()&os.ModeCharDevice != 0, h, "a character device")
	case corev1.HostPathBlockDev:
		return unless(exists && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, h, "a block device")
	}
	return fmt.Errorf("hostPath type %q is not known", *h.Type)
}

func unless(ok bool, h *corev1.HostPathVolumeSource, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("hostPath type check failed: %s is not %s", h.Path, what)
}

// volumeFiles gathers the files of a volume that is made from API objects.
func (a *Agent) volumeFiles(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) ([]spec.File, error) {
	switch {
	case v.ConfigMap != nil:
		return a.configMapFiles(ctx, pod, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional, v.ConfigMap.DefaultMode)
	case v.Secret != nil:
		return a.secretFiles(ctx, pod, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional, v.Secret.DefaultMode)
	case v.DownwardAPI != nil:
		return spec.DownwardFiles(pod, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode, a.node())
	}
	var all []spec.File
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		var files []spec.File
		var err error
		switch {
		case s.ConfigMap != nil:
			files, err = a.configMapFiles(ctx, pod, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional, v.Projected.DefaultMode)
		case s.Secret != nil:
			files, err = a.secretFiles(ctx, pod, s.Secret.Name, s.Secret.Items, s.Secret.Optional, v.Projected.DefaultMode)
		case s.DownwardAPI != nil:
			files, err = spec.DownwardFiles(pod, s.DownwardAPI.Items, v.Projected.DefaultMode, a.node())
		case s.ServiceAccountToken != nil:
			files, err = a.tokenFile(ctx, pod, s.ServiceAccountToken, v.Projected.DefaultMode)
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

func (a *Agent) configMapFiles(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, optional *bool, mode *int32) ([]spec.File, error) {
	got, err := a.client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
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

func (a *Agent) secretFiles(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, optional *bool, mode *int32) ([]spec.File, error) {
	got, err := a.client.CoreV1().Secrets(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
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
func (a *Agent) tokenFile(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection, mode *int32) ([]spec.File, error) {
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
	answer, err := a.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
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
		mode := f.Mode
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
