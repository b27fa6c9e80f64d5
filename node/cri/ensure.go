package cri

import (
	"bytes"
	"context"
	"fmt"

	"fairlead.dev/fairlead/node/image"
)

// Ensure imports an image archive unless the store already has all of its names. A name whose content changed is therefore
// not replaced; Import does that.
func (r *Runtime) Ensure(ctx context.Context, text []byte) error {
	archive, err := image.Open(bytes.NewReader(text), int64(len(text)), "")
	if err != nil {
		return err
	}
	for _, packed := range archive.Images {
		for _, name := range packed.Names {
			found, err := r.HasImage(ctx, name)
			if err != nil {
				return fmt.Errorf("image %s: %w", name, err)
			}
			if !found {
				return r.Import(ctx, archive)
			}
		}
	}
	return nil
}
