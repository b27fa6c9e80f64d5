package cri

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Ensure imports an image archive unless the store already has all of its references. A tag whose content changed is therefore
// not replaced; Import does that.
func (r *Runtime) Ensure(ctx context.Context, archive []byte) error {
	refs, err := archiveRefs(archive)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		found, err := r.HasImage(ctx, ref)
		if err != nil {
			return fmt.Errorf("image %s: %w", ref, err)
		}
		if !found {
			return r.Import(ctx, bytes.NewReader(archive), refs)
		}
	}
	return nil
}

// archiveRefs reads the references of an archive from its manifest.json (the Docker form, which OCI archives carry too).
func archiveRefs(archive []byte) ([]string, error) {
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("image archive: no manifest.json inside")
		}
		if err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
		if header.Name != "manifest.json" {
			continue
		}
		var manifests []struct{ RepoTags []string }
		if err := json.NewDecoder(files).Decode(&manifests); err != nil {
			return nil, fmt.Errorf("image archive: manifest.json: %w", err)
		}
		var refs []string
		for _, m := range manifests {
			refs = append(refs, m.RepoTags...)
		}
		if len(refs) == 0 {
			return nil, errors.New("image archive: manifest.json names no image")
		}
		return refs, nil
	}
}
