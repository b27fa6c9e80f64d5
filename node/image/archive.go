package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Archive is what an archive of images, as docker, podman and others save them, has for this machine. All of it is there, and each
// file has the content that its digest says.
type Archive struct{ Images []Packed }

// Packed is one image of an archive.
type Packed struct {
	Names    []string  // full: "nginx:1.25" is docker.io/library/nginx:1.25
	Blobs    []Blob    // everything of it, each after what it refers to; the last one is the image: its manifest, or an index
	Variants []Variant // what this machine can run of it, the best first; there is one at least
}

// Target is what the names of the image stand for.
func (p Packed) Target() Blob { return p.Blobs[len(p.Blobs)-1] }

// Variant is an image as one kind of machine has it.
type Variant struct {
	Config  Blob
	Layers  []Blob   // the lowest first
	DiffIDs []string // the digest of each layer without its compression
}

// Blob is a file of an image, known by its content.
type Blob struct {
	MediaType, Digest string // the digest is sha256:, and 64 hexadecimal digits
	Size              int64  // bytes
	Refers            []string
	content           io.ReaderAt
}

// Open reads the blob from its beginning.
func (b Blob) Open() io.Reader { return io.NewSectionReader(b.content, 0, b.Size) }

// Why an image, or a variant of one, cannot be had from an archive; another variant may do.
var (
	errMissing = errors.New("is not in the archive")
	errForeign = errors.New("cannot be run by this machine")
)

// Open reads an archive that has no compression and stays as it is while its blobs are read. An image to which it gives no name is
// called unnamed.
func Open(archive io.ReaderAt, size int64, unnamed string) (*Archive, error) {
	files, err := list(archive, size)
	if err == nil {
		var images []Packed
		if images, err = files.images(unnamed); err == nil {
			return &Archive{images}, nil
		}
	}
	return nil, fmt.Errorf("image archive: %w", err)
}

// files are those of a tar, by their cleaned names.
type files struct {
	archive io.ReaderAt
	entries map[string]entry
	intact  map[string]bool // digests whose content was looked at
}

// entry is a file of a tar, or a link to another name.
type entry struct {
	offset, size int64
	link         string
}

// Names of the lists of images in an archive: of the OCI image layout, and of docker save.
const (
	ociIndex        = "index.json"
	dockerManifests = "manifest.json"
)

// list finds the files of a tar. Of several with one name the last counts, as when it is unpacked.
func list(archive io.ReaderAt, size int64) (*files, error) {
	f := &files{archive: archive, entries: map[string]entry{}, intact: map[string]bool{}}
	section := io.NewSectionReader(archive, 0, size)
	for headers := tar.NewReader(section); ; {
		header, err := headers.Next()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar, or not all of one: %w", err)
		}
		offset, err := section.Seek(0, io.SeekCurrent) // nothing is read ahead: the file begins here
		if err != nil {
			return nil, err
		}
		name := clean(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			f.entries[name] = entry{offset: offset, size: header.Size}
		case tar.TypeSymlink:
			f.entries[name] = entry{link: clean(path.Join(path.Dir(name), header.Linkname))}
		case tar.TypeLink:
			f.entries[name] = entry{link: clean(header.Linkname)}
		}
	}
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// file finds a file by its name, through links; old docker saves layers that several images have once.
func (f *files) file(name string) (Blob, error) {
	at := clean(name)
	for range 8 {
		e, ok := f.entries[at]
		if !ok {
			break
		}
		if e.link == "" {
			return Blob{Size: e.size, content: io.NewSectionReader(f.archive, e.offset, e.size)}, nil
		}
		at = e.link
	}
	return Blob{}, fmt.Errorf("%s %w", name, errMissing)
}

// digestForm is that of the digests that are read; every tool writes them.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// blob finds what a descriptor describes, and looks whether it is that.
func (f *files) blob(d descriptor) (Blob, error) {
	if !digestForm.MatchString(d.Digest) {
		return Blob{}, fmt.Errorf("%q is not a digest that can be read: it must be sha256", d.Digest)
	}
	b, err := f.file(blobPath(d))
	if err != nil {
		return Blob{}, err
	}
	b.MediaType, b.Digest = d.MediaType, d.Digest
	if b.Size != d.Size {
		return Blob{}, fmt.Errorf("%s is damaged: it has %d bytes, not %d", d.Digest, b.Size, d.Size)
	}
	if f.intact[d.Digest] {
		return b, nil
	}
	found, err := digest(b)
	if err == nil && found != d.Digest {
		err = fmt.Errorf("%s is damaged: its content is %s", d.Digest, found)
	}
	f.intact[d.Digest] = err == nil
	return b, err
}

// digest reads a blob and says what it is.
func digest(b Blob) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, b.Open()); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// jsonLimit bounds a list, a manifest or a configuration, in bytes.
const jsonLimit = 8 << 20

// decode reads JSON.
func decode(b Blob, what string, into any) error {
	if b.Size > jsonLimit {
		return fmt.Errorf("%s has %d bytes: more than the %d that are read", what, b.Size, jsonLimit)
	}
	text, err := io.ReadAll(b.Open())
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// NameOf is what an image is called that has no name in its archive: after the file, without what says how it is packed.
func NameOf(file string) string {
	base := strings.ToLower(filepath.Base(file))
	for _, end := range []string{".gz", ".zst", ".tgz", ".tzst", ".tar", ".oci"} {
		base = strings.TrimSuffix(base, end)
	}
	name := strings.Trim(notInNames.ReplaceAllString(base, "-"), "-._")
	if name == "" {
		return "imported"
	}
	return name
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)
