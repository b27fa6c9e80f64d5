package image

import "io"

// Told is the archive with a function that is told of each read of its blobs: how many bytes. All are read once when an archive is loaded,
// but for those that are there already.
func (a *Archive) Told(read func(bytes int)) *Archive {
	watched := func(b Blob) Blob {
		b.content = told{b.content, read}
		return b
	}
	all := &Archive{Images: make([]Packed, len(a.Images))}
	for i, p := range a.Images {
		blobs := make([]Blob, len(p.Blobs))
		for j, b := range p.Blobs {
			blobs[j] = watched(b)
		}
		p.Blobs = blobs
		all.Images[i] = p
	}
	return all
}

// Size is that of all blobs, each once, in bytes.
func (a *Archive) Size() int64 {
	var sum int64
	counted := map[string]bool{}
	for _, p := range a.Images {
		for _, b := range p.Blobs {
			if !counted[b.Digest] {
				counted[b.Digest] = true
				sum += b.Size
			}
		}
	}
	return sum
}

type told struct {
	from io.ReaderAt
	read func(bytes int)
}

// ReadAt implements io.ReaderAt.
func (t told) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.from.ReadAt(p, off)
	t.read(n)
	return n, err
}
