package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is one entry of an image: a regular file, or a directory when Mode has
// fs.ModeDir, or a symbolic link when Mode has fs.ModeSymlink. Everything in
// an image belongs to root.
type File struct {
	// Path is relative to the image's root, with slashes: "usr/bin/nginx".
	Path string
	// Mode is the type and the permissions, setuid, setgid and sticky bits included.
	Mode fs.FileMode
	// Data is the content of a regular file.
	Data []byte
	// Target is where a symbolic link points.
	Target string
}

// Dir reads the directory root, with everything below it, as the files of an
// image. Devices, sockets and pipes are refused.
func Dir(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := read(name, d)
		f.Path = filepath.ToSlash(rel)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read image files from %s: %w", root, err)
	}
	return files, nil
}

func read(name string, d fs.DirEntry) (File, error) {
	info, err := d.Info()
	if err != nil {
		return File{}, err
	}
	f := File{Mode: info.Mode()}
	switch info.Mode().Type() {
	case 0:
		f.Data, err = os.ReadFile(name)
	case fs.ModeSymlink:
		f.Target, err = os.Readlink(name)
	case fs.ModeDir:
	default:
		err = fmt.Errorf("%s: a %s cannot go into an image", name, info.Mode().Type())
	}
	return f, err
}

// complete returns files sorted by path, with the parents that no entry
// names as directories of mode 0755, and refuses paths that leave the root or
// come twice.
func complete(files []File) ([]File, error) {
	all := make(map[string]File, len(files))
	for _, f := range files {
		f.Path = strings.TrimPrefix(path.Clean("/"+f.Path), "/")
		if f.Path == "" {
			continue
		}
		if _, dup := all[f.Path]; dup {
			return nil, fmt.Errorf("%s: two files of this name", f.Path)
		}
		all[f.Path] = f
	}
	for _, f := range files {
		for p := path.Dir(path.Clean("/" + f.Path)); p != "/"; p = path.Dir(p) {
			name := p[1:]
			if _, ok := all[name]; !ok {
				all[name] = File{Path: name, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	out := make([]File, 0, len(all))
	for _, f := range all {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return out, nil
}

func (f File) header() *tar.Header {
	h := &tar.Header{
		Name: f.Path, Mode: int64(f.Mode.Perm()), ModTime: epoch, Typeflag: tar.TypeReg, Size: int64(len(f.Data)),
		Uname: "root", Gname: "root",
	}
	for bit, mode := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if f.Mode&bit != 0 {
			h.Mode |= mode
		}
	}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name, h.Size = tar.TypeDir, f.Path+"/", 0
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Size, h.Mode = tar.TypeSymlink, f.Target, 0, 0o777
	}
	return h
}

// layerTar is the uncompressed layer that holds files.
func layerTar(files []File) ([]byte, error) {
	var buf bytes.Buffer
	if err := writeTar(&buf, files); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
