package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/spec"
)

// maxEnvFile is how much of a file with variables is read: a container writes it.
const maxEnvFile = 1 << 20

// EnvFiles reads the files of volumes that a container's variables are taken from. A file that does not exist is left out. As with parts of
// volumes no link leads out of the volume.
func (mgr *Manager) EnvFiles(pod *corev1.Pod, c *corev1.Container) (map[spec.EnvFile]string, error) {
	files := spec.EnvFiles(c)
	if len(files) == 0 {
		return nil, nil
	}
	texts := map[spec.EnvFile]string{}
	return texts, mgr.Runtime.InMounts(func() error { // where volumes in memory are
		for _, f := range files {
			text, err := readBelow(mgr.volumeDir(pod, f.Volume), f.Path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return fmt.Errorf("environment variable file %q of volume %q: %w", f.Path, f.Volume, err)
			default:
				texts[f] = text
			}
		}
		return nil
	})
}

// readBelow reads a regular file below a directory.
func readBelow(dir, path string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	file, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, errors.New("not a regular file"))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxEnvFile+1))
	if err == nil && len(text) > maxEnvFile {
		err = fmt.Errorf("longer than %d bytes", maxEnvFile)
	}
	return string(text), err
}
