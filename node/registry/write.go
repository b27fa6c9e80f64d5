package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fairlead.dev/fairlead/internal/durable"
)

// Write makes dir hold the hosts directories of the settings, and no others. containerd reads them at every pull. They are root's alone.
func Write(dir string, r Registries) error {
	want := r.Directories()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("hosts directories: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("hosts directories: %w", err)
	}
	var errs []error
	for _, e := range there {
		if _, wanted := want[e.Name()]; !wanted {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	for name, text := range want {
		errs = append(errs, writeOne(filepath.Join(dir, name), text))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("hosts directories: %w", err)
	}
	return nil
}

func writeOne(dir, text string) error {
	path := filepath.Join(dir, HostsFile)
	now, err := os.ReadFile(path)
	if err == nil && string(now) == text {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, []byte(text), 0o600)
}
