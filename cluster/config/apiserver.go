package config

import (
	"fmt"
	"path/filepath"
)

// None is what a setting says that takes back what was saved.
const None = "none"

// APIServer are the settings of the API server alone: files in Kubernetes' own formats.
type APIServer struct {
	// EncryptionConfig is a file of Kubernetes' EncryptionConfiguration.
	EncryptionConfig string `json:"encryptionConfig,omitempty"`
}

// paths are the settings that are the path of a file, by the name of their flag.
func (a *APIServer) paths() map[string]*string {
	return map[string]*string{"encryption-config": &a.EncryptionConfig}
}

// orElse is a with every field that is not set taken from other.
func (a APIServer) orElse(other APIServer) APIServer {
	a.EncryptionConfig = or(a.EncryptionConfig, other.EncryptionConfig)
	return a
}

// typed completes paths as somebody typed them, who meant them from where they were. The process that reads the files is
// somewhere else.
func (a *APIServer) typed() error {
	for flag, path := range a.paths() {
		if *path == "" || *path == None {
			continue
		}
		whole, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("%s %q: %w", flag, *path, err)
		}
		*path = whole
	}
	return nil
}

// check refuses paths that mean another file from wherever they are read.
func (a *APIServer) check() (errs []error) {
	for flag, path := range a.paths() {
		if *path != "" && *path != None && !filepath.IsAbs(*path) {
			errs = append(errs, fmt.Errorf("%s %q: must be an absolute path", flag, *path))
		}
	}
	return errs
}

// Path is a setting that is a path; empty: there is none, or it was taken back.
func Path(setting string) string {
	if setting == None {
		return ""
	}
	return setting
}
