package debian

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Needs returns the files below the unpacked tree root that program (a path
// relative to root) needs to run: itself, its ELF interpreter, every shared
// library that it or one of them names, and the symbolic links on the way.
func Needs(root, program string) ([]string, error) {
	libs, err := libraryFiles(root)
	if err != nil {
		return nil, fmt.Errorf("needs of %s: %w", program, err)
	}
	seen := map[string]bool{}
	for todo := []string{program}; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		more, err := links(root, name, libs)
		if err != nil {
			return nil, fmt.Errorf("needs of %s: %w", program, err)
		}
		todo = append(todo, more...)
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// links returns what the file name names: its target when it is a symbolic
// link, its interpreter and libraries when it is an ELF file.
func links(root, name string, libs map[string]string) ([]string, error) {
	full := filepath.Join(root, name)
	info, err := os.Lstat(full)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(full)
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		return []string{target[1:]}, err
	}
	f, err := elf.Open(full)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	var more []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			interp := make([]byte, p.Filesz)
			if _, err := p.ReadAt(interp, 0); err != nil {
				return nil, fmt.Errorf("%s: interpreter: %w", name, err)
			}
			more = append(more, strings.Trim(string(interp), "/\x00"))
		}
	}
	sonames, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, soname := range sonames {
		lib, ok := libs[soname]
		if !ok {
			return nil, fmt.Errorf("%s: needs %s, which is in none of the unpacked packages", name, soname)
		}
		more = append(more, lib)
	}
	return more, nil
}

// libraryFiles maps the names of shared libraries to their paths in the
// directories where the dynamic linker looks by default.
func libraryFiles(root string) (map[string]string, error) {
	libs := map[string]string{}
	for _, pattern := range []string{"usr/lib/*-linux-gnu", "usr/lib", "lib/*-linux-gnu", "lib64", "lib"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			entries, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			rel, err := filepath.Rel(root, dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if strings.Contains(e.Name(), ".so") {
					libs[e.Name()] = path.Join(filepath.ToSlash(rel), e.Name())
				}
			}
		}
	}
	return libs, nil
}
