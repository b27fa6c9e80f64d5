package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const procSys = "/proc/sys"

// Sysctl sets a kernel setting, such as "net/ipv4/ip_forward" or, with dots,
// "net.ipv4.ip_forward", after recording its value. A setting that has the
// value already is left alone, and Undo leaves one alone that somebody
// changed again.
func (j *Journal) Sysctl(key, value string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	if !fs.ValidPath(key) {
		return fmt.Errorf("sysctl %s: not a key", key)
	}
	old, err := readSysctl(key)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	if old == value {
		return nil
	}
	with, err := followers(key)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	net, err := netID()
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	if err := j.add(entry{Kind: KindSysctl, Name: key, Old: old, New: value, With: with, Net: net}); err != nil {
		return err
	}
	if err := writeSysctl(key, value); err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	return nil
}

// followers returns the settings, with their values, that the kernel changes
// along with key (its inet_forward_change and addrconf_fixup_forwarding): the
// switch for forwarding overwrites the one of each interface, and IPv4's also
// whether redirects are accepted.
func followers(key string) (map[string]string, error) {
	var patterns []string
	switch key {
	case "net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding":
		patterns = []string{"net/ipv4/conf/*/forwarding", "net/ipv4/conf/all/accept_redirects"}
	case "net/ipv6/conf/all/forwarding":
		patterns = []string{"net/ipv6/conf/*/forwarding"}
	}
	with := map[string]string{}
	for _, p := range patterns {
		files, err := filepath.Glob(path.Join(procSys, p))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			name := strings.TrimPrefix(f, procSys+"/")
			value, err := readSysctl(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the interface has just gone
			}
			if err != nil {
				return nil, err
			}
			if name != key && !strings.HasSuffix(name, "conf/all/forwarding") { // "all" is the switch itself
				with[name] = value
			}
		}
	}
	return with, nil
}

func undoSysctl(_ context.Context, e entry) (bool, error) {
	now, err := readSysctl(e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its interface or module has gone
	}
	if err != nil || now != e.New {
		return false, err
	}
	if err := writeSysctl(e.Name, e.Old); err != nil {
		return false, err
	}
	names := make([]string, 0, len(e.With))
	for name := range e.With {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		now, err := readSysctl(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && now != e.With[name] {
			err = writeSysctl(name, e.With[name])
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	return true, nil
}

func readSysctl(key string) (string, error) {
	data, err := os.ReadFile(path.Join(procSys, key))
	return strings.TrimSpace(string(data)), err
}

// writeSysctl writes without truncating or creating: the kernel takes one write.
func writeSysctl(key, value string) error {
	f, err := os.OpenFile(path.Join(procSys, key), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// netID identifies the network namespace of the calling thread.
func netID() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("network namespace: %w", err)
	}
	return st.Ino, nil
}
