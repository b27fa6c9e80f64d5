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
			files = append(files, File{key, value, FileMode(mode, nil)})
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
		files = append(files, File{item.Path, value, FileMode(mode, item.Mode)})
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
		files = append(files, File{item.Path, []byte(value), FileMode(mode, item.Mode)})
	}
	return files, nil
}
