// Package instance is one cluster's footing on this host: its data directory, the lock that shows that it
// runs, and the settings it was started with. Everything a later `down` or `status` needs is in files here,
// so that both work with the program dead.
package instance

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/internal/durable"
	"fairlead.dev/fairlead/internal/keeper"
	"fairlead.dev/fairlead/node/registry"
)

// dataVersion is the layout of a data directory. A program refuses a directory of another one.
const dataVersion = "1"

// Instance is a data directory.
type Instance struct{ Dir string }

// RunningError says that a process holds the instance's lock.
type RunningError struct {
	Dir string
	PID int
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("already running on %s as process %d; 'fairlead status' shows it, 'fairlead down' stops it", e.Dir, e.PID)
}

// Path is a file of the instance.
func (i Instance) Path(elem ...string) string {
	return filepath.Join(append([]string{i.Dir}, elem...)...)
}

// Exists reports whether the directory holds an instance, running or not.
func (i Instance) Exists() bool {
	_, err := os.Stat(i.Path("version"))
	return err == nil
}

// Prepare makes the directory, or checks that one that exists was written by a program of this layout.
func (i Instance) Prepare() error {
	if err := i.makeDir(); err != nil {
		return err
	}
	text, err := os.ReadFile(i.Path("version"))
	switch v := strings.TrimSpace(string(text)); {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := i.LoadSettings(); err == nil {
			return i.MayMake("version")
		}
		if err := i.refuseForeign(); err != nil {
			return err
		}
		return durable.WriteFile(i.Path("version"), []byte(dataVersion+"\n"), 0o600)
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case strings.Trim(v, "0123456789") != "" || v == "": // no layout's number
		return i.Damaged("version", text)
	case v != dataVersion:
		return fmt.Errorf("data directory %s was written by a Fairlead of layout %q, this one reads layout %s; use the matching program, or another --data-dir", i.Dir, v, dataVersion)
	}
	return nil
}

// makeDir makes the directory and remembers that it did. Where everybody may make directories somebody else may be faster:
// whose it is now counts.
func (i Instance) makeDir() error {
	if err := i.Trusted(); err != nil {
		return err
	}
	if _, err := os.Stat(i.Dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return err
	}
	if err := i.Trusted(); err != nil {
		return err
	}
	return errors.Join(durable.WriteFile(i.Path("created"), nil, 0o600), durable.SyncDir(filepath.Dir(i.Dir)))
}

// refuseForeign keeps the program from moving into a directory full of somebody else's files, which a
// later `down` would remove.
func (i Instance) refuseForeign() error {
	entries, err := os.ReadDir(i.Dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "config.yaml" && name != "lock" && name != "created" {
			return fmt.Errorf("data directory %s holds files that are not Fairlead's (%s); give an empty or new --data-dir", i.Dir, name)
		}
	}
	return nil
}

// Lock marks the instance as running in this process until the process ends, however it ends.
func (i Instance) Lock() (*os.File, error) {
	f, err := os.OpenFile(i.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		pid, _ := i.Running()
		return nil, &RunningError{Dir: i.Dir, PID: pid}
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Running is the cluster's main process, which holds the lock.
func (i Instance) Running() (pid int, running bool) { return i.holder("lock") }

// Keeper is the process that starts the main one again should it die.
func (i Instance) Keeper() (pid int, alive bool) { return i.holder(keeper.LockFile) }

// Foreground tells a main process that somebody else looks after, such as a service manager, from one of `up`.
func (i Instance) Foreground(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(text), "\x00")
	return err == nil && len(args) > 1 && args[1] != "run"
}

// holder is the process that holds a lock, by the number it has left there. To ask does not take the lock, not even
// for the moment in which the process that is to have it might try.
func (i Instance) holder(lock string) (pid int, alive bool) {
	f, err := os.Open(i.Path(lock))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held); err != nil || held.Type == unix.F_UNLCK {
		return 0, false
	}
	return i.number(lock), true
}

// number is what the holder of a lock writes as soon as it has it.
func (i Instance) number(lock string) int {
	for range 100 {
		text, _ := os.ReadFile(i.Path(lock))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0
}

// Starting marks the instance as being started by this process until the returned lock is closed. Of two that try at
// once, one is refused.
func (i Instance) Starting() (io.Closer, error) {
	dir, err := os.Open(i.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, fmt.Errorf("another 'fairlead up' is starting the cluster in %s at this moment; 'fairlead status' shows what comes of it", i.Dir)
	}
	return dir, nil
}

// SaveSettings records what the instance was started with.
func (i Instance) SaveSettings(c config.Config) error {
	c.Registries = registry.Registries{} // the file is asked for them every time; passwords are nowhere else
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(i.Path("settings.json"), append(text, '\n'), 0o600)
}

// LoadSettings reads what the instance was last started with. Without a cluster the error is fs.ErrNotExist.
func (i Instance) LoadSettings() (config.Config, error) {
	var c config.Config
	text, err := os.ReadFile(i.Path("settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if lost := i.MayMake("settings.json"); lost != nil {
			return c, lost
		}
	}
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	if json.Unmarshal(text, &c) != nil || c.Name == "" {
		return c, i.Damaged("settings.json", text)
	}
	return c, nil
}

// secretLength is how many random bytes make a secret.
const secretLength = 16

// Secret returns the random secret kept in the named file, making it the first time. One that is empty or cut short is
// refused: it would open the cluster to everybody.
func (i Instance) Secret(name string) (string, error) {
	path := i.Path(name)
	text, err := os.ReadFile(path)
	if err == nil {
		secret := strings.TrimSpace(string(text))
		if raw, err := hex.DecodeString(secret); err != nil || len(raw) < secretLength {
			return "", i.Damaged(name, text)
		}
		return secret, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := i.MayMake(name); err != nil {
		return "", err
	}
	return i.NewSecret(name)
}

// NewSecret makes a secret, in place of the one that there may be.
func (i Instance) NewSecret(name string) (string, error) {
	raw := make([]byte, secretLength)
	rand.Read(raw) // never fails
	secret := hex.EncodeToString(raw)
	return secret, durable.WriteFile(i.Path(name), []byte(secret+"\n"), 0o600)
}

// keptData are the files that the next start works on if the user wants to keep the data.
var keptData = map[string]bool{"version": true, "settings.json": true, "pki": true, "token": true, "encryption.yaml": true, "audit": true, "joined": true, "etcd": true, "etcd.born": true, "etcd.unborn": true, "nodes": true, "lab.json": true, "created": true}

// Remove deletes the instance's files. A config.yaml is the user's and stays; the directory goes if the
// instance made it and nothing is left in it. With keep, the data stays too.
func (i Instance) Remove(keep bool) error {
	_, err := os.Stat(i.Path("created"))
	made := err == nil
	entries, err := os.ReadDir(i.Dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(goes(a.Name()), goes(b.Name())) })
	for _, e := range entries {
		if name := e.Name(); name != "config.yaml" && !(keep && keptData[name]) {
			err = errors.Join(err, os.RemoveAll(i.Path(name)))
		}
	}
	if err == nil && made && !keep {
		os.Remove(i.Dir) // fails, and should, if the user put something into it
	}
	return err
}
