package volume

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"fairlead.dev/fairlead/node/spec"
)

// The files of a volume lie in a directory of their own in it, to which the link ..data leads, and what is seen beside are links into
// that: one rename changes all files at once. Names that begin with two dots are the volume's own; no file may have one.
const (
	dataLink  = "..data"
	newLink   = "..data_new"
	ownPrefix = ".."
)

// writeFiles brings the files of a volume to what they are to be. What is so already is not touched. Paths that lead out of the volume
// are refused by the operating system.
func writeFiles(dir string, files []spec.File, group *int64) error {
	if err := errors.Join(os.MkdirAll(dir, 0o755), own(dir, group)); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	files = cleaned(files)
	if present(root, files, group) {
		return show(root, files)
	}
	fresh := ownPrefix + rand.Text()
	if err := fill(root, fresh, files, group); err != nil {
		return errors.Join(err, root.RemoveAll(fresh))
	}
	if err := errors.Join(ignoreMissing(root.Remove(newLink)), root.Symlink(fresh, newLink)); err != nil {
		return err
	}
	if err := root.Rename(newLink, dataLink); err != nil {
		return err
	}
	return errors.Join(show(root, files), clear(root, fresh, files))
}

// own lets a directory belong to the pod's group, as will what is made in it.
func own(dir string, group *int64) error {
	if group == nil {
		return os.Chmod(dir, 0o755)
	}
	return errors.Join(os.Chown(dir, -1, int(*group)), os.Chmod(dir, 0o755|os.ModeSetgid))
}

func cleaned(files []spec.File) []spec.File {
	out := make([]spec.File, len(files))
	for i, f := range files {
		out[i] = f
		out[i].Path = filepath.Clean(strings.TrimPrefix(f.Path, "/"))
	}
	return out
}

// mode is what a file has: the pod's group may read every one.
func mode(f spec.File, group *int64) os.FileMode {
	if group != nil {
		return os.FileMode(f.Mode) | 0o440
	}
	return os.FileMode(f.Mode)
}

// present tells whether exactly the files are there, with their content and modes.
func present(root *os.Root, files []spec.File, group *int64) bool {
	in, err := root.OpenRoot(dataLink)
	if err != nil {
		return false
	}
	defer in.Close()
	n := 0
	err = fs.WalkDir(in.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != len(files) {
		return false
	}
	for _, f := range files {
		info, err := in.Stat(f.Path)
		if err != nil || info.Mode().Perm() != mode(f, group).Perm() || !belongs(info, f.User, group) {
			return false
		}
		if text, err := in.ReadFile(f.Path); err != nil || !bytes.Equal(text, f.Data) {
			return false
		}
	}
	return true
}

// belongs tells whether a file is the user's and the group's, where these matter.
func belongs(info fs.FileInfo, user, group *int64) bool {
	is, ok := info.Sys().(*syscall.Stat_t)
	return ok && (user == nil || int64(is.Uid) == *user) && (group == nil || int64(is.Gid) == *group)
}

// fill makes a directory with the files.
func fill(root *os.Root, name string, files []spec.File, group *int64) error {
	if err := errors.Join(root.Mkdir(name, 0o755), root.Chmod(name, 0o755)); err != nil {
		return err
	}
	in, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, f := range files {
		if parent := filepath.Dir(f.Path); parent != "." {
			if err := in.MkdirAll(parent, 0o755); err != nil {
				return err
			}
		}
		if err := in.WriteFile(f.Path, f.Data, 0o600); err != nil {
			return err
		}
		if err := give(in, f, group); err != nil {
			return err
		}
	}
	return nil
}

// give sets whose a file is, and who may read it.
func give(in *os.Root, f spec.File, group *int64) error {
	user, of := -1, -1
	if f.User != nil {
		user = int(*f.User)
	}
	if group != nil {
		of = int(*group)
	}
	if user >= 0 || of >= 0 {
		if err := in.Chown(f.Path, user, of); err != nil {
			return err
		}
	}
	return in.Chmod(f.Path, mode(f, group))
}

// show makes the links to the files, each name at the top one. What lies at their place, of an earlier version, gives way.
func show(root *os.Root, files []spec.File) error {
	for name := range tops(files) {
		to := filepath.Join(dataLink, name)
		if now, err := root.Readlink(name); err == nil && now == to {
			continue
		}
		if err := errors.Join(root.RemoveAll(name), root.Symlink(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// clear removes the links to files that are not there any more, and directories of before.
func clear(root *os.Root, current string, files []spec.File) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	keep := tops(files)
	for _, e := range entries {
		name := e.Name()
		to, _ := root.Readlink(name)
		stale := to != "" && strings.HasPrefix(to, dataLink+"/") && !keep[name]
		before := strings.HasPrefix(name, ownPrefix) && e.IsDir() && name != current
		if stale || before {
			if err := root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// tops are the first elements of the paths.
func tops(files []spec.File) map[string]bool {
	names := map[string]bool{}
	for _, f := range files {
		first, _, _ := strings.Cut(f.Path, "/")
		names[first] = true
	}
	return names
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
