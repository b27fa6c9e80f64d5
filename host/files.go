package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// place is a directory where programs leave things.
type place struct {
	dir     string
	content bool // compare what is in the files, not only that they are there
}

var places = []place{
	{"/etc", true}, {"/root/.kube", true}, {"/home/*/.kube", true},
	{"/var/lib", false}, {"/run", false}, {"/opt", false}, {"/usr/local", false},
}

// busyPlaces change by themselves, or are another program's own and large.
var busyPlaces = []string{
	"/etc/mtab", "/etc/resolv.conf", "/etc/adjtime",
	"/run/log", "/run/lock", "/run/systemd", "/run/udev", "/run/user", "/run/utmp", "/run/netns", "/run/dbus", "/run/docker", "/run/postgresql",
	"/usr/local/go",
	"/var/lib/PackageKit", "/var/lib/apt", "/var/lib/chrony", "/var/lib/dhcp", "/var/lib/docker/overlay2", "/var/lib/dpkg", "/var/lib/logrotate",
	"/var/lib/man-db", "/var/lib/mysql", "/var/lib/ntp", "/var/lib/postgresql", "/var/lib/systemd",
}

func traceFiles(ctx context.Context) ([]string, error) {
	var lines []string
	for _, p := range places {
		dirs, err := filepath.Glob(p.dir)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			more, err := tree(ctx, dir, p.content)
			if err != nil {
				return nil, err
			}
			lines = append(lines, more...)
		}
	}
	return lines, nil
}

// tree lists a directory and everything below it but busyPlaces and the
// layers that containerd unpacks.
func tree(ctx context.Context, dir string, content bool) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignore(err, fs.ErrNotExist) // it goes just now
		}
		if slices.Contains(busyPlaces, p) || strings.HasSuffix(filepath.Dir(p), "overlayfs/snapshots") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		line, err := describeFile(p, d, content)
		lines = append(lines, line)
		return errors.Join(ctx.Err(), ignore(err, fs.ErrNotExist))
	})
	return lines, err
}

// describeFile is one line: type, permissions, path, and a link's target or a file's sum.
func describeFile(p string, d fs.DirEntry, content bool) (string, error) {
	info, err := d.Info()
	if err != nil {
		return "file (gone)", err
	}
	line := fmt.Sprintf("file %s %s", info.Mode(), p)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(p)
		return line + " -> " + target, err
	case content && info.Mode().IsRegular():
		data, err := os.ReadFile(p)
		return fmt.Sprintf("%s %.8x", line, sha256.Sum256(data)), err
	}
	return line, nil
}
