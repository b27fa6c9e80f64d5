package spec

import (
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
)

// File is one file of a volume that is made from API objects. Path is relative to the volume.
type File struct {
	Path string
	Data []byte
	Mode uint32 // permissions
	User *int64 // nil: root
}

// FileMode is a file's own mode, or the volume's, or 0644.
func FileMode(volume, own *int32) uint32 {
	switch {
	case own != nil:
		return uint32(*own)
	case volume != nil:
		return uint32(*volume)
	}
	return 0o644
}

// KeyFiles turns the keys of a config map or secret into files: all of them, or the listed ones under their paths. A listed key
// that is missing is an error unless the source is optional.
func KeyFiles(data map[string][]byte, items []corev1.KeyToPath, optional bool, mode *int32) ([]File, error) {
	var files []File
	if items == nil {
		for key, value := range data {
			files = append(files, File{Path: key, Data: value, Mode: FileMode(mode, nil)})
		}
		sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
		return files, nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && optional {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("references non-existent config key: %s", item.Key)
		}
		files = append(files, File{Path: item.Path, Data: value, Mode: FileMode(mode, item.Mode)})
	}
	return files, nil
}

// DownwardFiles are the files of a downward API volume.
func DownwardFiles(pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, mode *int32, node Node) ([]File, error) {
	var files []File
	for i := range items {
		item := &items[i]
		var value string
		var err error
		if item.FieldRef != nil {
			value, err = Field(pod, item.FieldRef.FieldPath)
		} else if item.ResourceFieldRef != nil {
			value, err = ResourceField(pod, item.ResourceFieldRef.ContainerName, item.ResourceFieldRef, node)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: item.Path, Data: []byte(value), Mode: FileMode(mode, item.Mode)})
	}
	return files, nil
}

// PrivateFile is the file of a token or certificate, which only those read who should: where the pod has a group, that; where all of its containers run
// as one user, that user; whoever the volume's mode allows otherwise, as upstream.
func PrivateFile(pod *corev1.Pod, path string, mode *int32) File {
	f := File{Path: path, Mode: FileMode(mode, nil), User: onlyUser(pod)}
	if s := pod.Spec.SecurityContext; f.User != nil || s != nil && s.FSGroup != nil {
		f.Mode = 0o600
	}
	return f
}

// onlyUser is the user that all containers of a pod are told to run as, if it is one.
func onlyUser(pod *corev1.Pod) *int64 {
	var general, only *int64
	if s := pod.Spec.SecurityContext; s != nil {
		general = s.RunAsUser
	}
	agree := true
	each := func(s *corev1.SecurityContext) {
		user := general
		if s != nil && s.RunAsUser != nil {
			user = s.RunAsUser
		}
		if user == nil || only != nil && *only != *user {
			agree = false
		}
		only = user
	}
	for i := range pod.Spec.InitContainers {
		each(pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range pod.Spec.Containers {
		each(pod.Spec.Containers[i].SecurityContext)
	}
	for i := range pod.Spec.EphemeralContainers {
		each(pod.Spec.EphemeralContainers[i].SecurityContext)
	}
	if !agree {
		return nil
	}
	return only
}
