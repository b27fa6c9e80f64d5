// Package debian takes programs out of Debian packages: it downloads packages
// from the mirror that apt is set up for, without installing anything on this
// machine, and finds the files that a program needs to run.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Fetch downloads packages into the directory cache, unless they are there in
// the version that apt would install, and returns the .deb files in the order
// of the names. When apt has no package lists yet, or lists so old that the
// mirror has gone on, it fetches new ones first.
func Fetch(ctx context.Context, cache string, packages ...string) ([]string, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("fetch packages: %w", err)
	}
	debs, err := fetch(ctx, cache, packages)
	if err == nil || errors.Is(err, errUnknown) && haveLists() {
		return debs, err
	}
	if _, upErr := run(ctx, "", "apt-get", "-q", "update"); upErr != nil {
		return nil, errors.Join(err, upErr)
	}
	return fetch(ctx, cache, packages)
}

// errUnknown says that apt does not know a package.
var errUnknown = errors.New("apt offers no download")

// haveLists tells whether apt has package lists.
func haveLists() bool {
	lists, err := filepath.Glob("/var/lib/apt/lists/*_Packages*")
	return err == nil && len(lists) > 0
}

// fetch downloads what the cache lacks.
func fetch(ctx context.Context, cache string, packages []string) ([]string, error) {
	wanted, err := locate(ctx, packages)
	if err != nil {
		return nil, err
	}
	var missing, debs []string
	for _, w := range wanted {
		file := filepath.Join(cache, w.file)
		debs = append(debs, file)
		if info, err := os.Stat(file); err != nil || info.Size() != w.size {
			missing = append(missing, w.name)
		}
	}
	if len(missing) == 0 {
		return debs, nil
	}
	args := append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, missing...)
	if _, err := run(ctx, cache, "apt-get", args...); err != nil {
		return nil, fmt.Errorf("fetch packages %s: %w", strings.Join(missing, " "), err)
	}
	return debs, nil
}

// download is what apt would fetch for one package.
type download struct {
	name, file string
	size       int64
}

// locate asks apt what it would download.
func locate(ctx context.Context, packages []string) ([]download, error) {
	args := append([]string{"-q", "--print-uris", "download"}, packages...)
	out, err := run(ctx, "", "apt-get", args...)
	if err != nil {
		return nil, fmt.Errorf("locate packages: %w: %w", errUnknown, err)
	}
	byName := map[string]download{}
	for line := range strings.Lines(out) {
		// 'http://.../x_1%2b2_amd64.deb' x_1%3a1+2_amd64.deb 928188 SHA256:...
		var d download
		var uri string
		if n, _ := fmt.Sscanf(line, "%s %s %d", &uri, &d.file, &d.size); n == 3 {
			d.name, _, _ = strings.Cut(d.file, "_")
			byName[d.name] = d
		}
	}
	var wanted []download
	for _, p := range packages {
		d, ok := byName[p]
		if !ok {
			return nil, fmt.Errorf("locate package %s: %w", p, errUnknown)
		}
		wanted = append(wanted, d)
	}
	return wanted, nil
}

// Unpack extracts the files of .deb archives below dir. Maintainer scripts do not run.
func Unpack(ctx context.Context, dir string, debs ...string) error {
	for _, deb := range debs {
		if _, err := run(ctx, "", "dpkg-deb", "-x", deb, dir); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

// Libraries returns the library packages that packages depend on, directly or
// through other libraries, sorted. Alternatives and virtual packages are left
// out: shared libraries are depended on by their own name.
func Libraries(ctx context.Context, packages ...string) ([]string, error) {
	if !haveLists() {
		if _, err := run(ctx, "", "apt-get", "-q", "update"); err != nil {
			return nil, fmt.Errorf("libraries of %s: %w", strings.Join(packages, " "), err)
		}
	}
	var libs []string
	for next := packages; len(next) > 0; {
		args := append([]string{"depends", "--important"}, next...)
		out, err := run(ctx, "", "apt-cache", args...)
		if err != nil {
			return nil, fmt.Errorf("libraries of %s: %w", strings.Join(next, " "), err)
		}
		next = nil
		for line := range strings.Lines(out) {
			name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
			name, _, _ = strings.Cut(name, ":")
			if ok && isLibrary(name) && !slices.Contains(libs, name) {
				libs, next = append(libs, name), append(next, name)
			}
		}
	}
	slices.Sort(libs)
	return libs, nil
}

// isLibrary tells by its name whether a package holds shared libraries.
func isLibrary(name string) bool {
	return strings.HasPrefix(name, "lib") || name == "zlib1g"
}

// run executes a program in dir and returns its standard output.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: this needs a Debian machine", err)
		}
		return "", fmt.Errorf("%s %s: %w", path.Base(name), args[0], err)
	}
	return out.String(), nil
}
