// Package localvolume keeps the directories of claims of class local-path on a node: DIR/VOLUME/data is what pods write, and
// DIR/VOLUME/claim says whose it is. Nothing that pods write there is trusted: what is removed is removed below DIR, through no link.
package localvolume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api/localvolume"
	"fairlead.dev/fairlead/internal/durable"
)

const (
	dataDir   = "data"
	claimFile = "claim"
	// goingSuffix ends the name of a directory that is being removed: it is none any more, whatever of it is left.
	goingSuffix = ".removing"
	maxRequest  = 1 << 16
)

// Volumes are the directories of a node. The zero value with a Dir is ready.
type Volumes struct {
	Dir   string                          // made with the first volume
	InUse func(volume string) (by string) // which pod of the node has a volume, "": none
	Log   *slog.Logger

	mu sync.Mutex // one directory is made or removed at a time
}

// ServeHTTP answers the control plane.
func (v *Volumes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var reply localvolume.Reply
	var err error
	if r.Method == http.MethodPost {
		var request localvolume.Request
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&request) != nil || !localvolume.IsName(request.Volume) {
			http.Error(w, "not a request about a volume", http.StatusBadRequest)
			return
		}
		reply, err = v.become(request)
	} else {
		reply.Directories, err = List(v.Dir)
	}
	if err != nil {
		reply.Problem = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		v.Log.Debug("the answer about volumes was not sent", "err", err)
	}
}

// become does what is wanted of a directory, and returns it if it is there then.
func (v *Volumes) become(r localvolume.Request) (localvolume.Reply, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	switch r.Want {
	case localvolume.Present:
		err = v.make(r)
	case localvolume.Absent:
		err = v.remove(r.Volume)
	case localvolume.NoWaste:
		err = v.removeUnused(r.Volume)
	default:
		err = fmt.Errorf("%q cannot be done with a directory", r.Want)
	}
	if _, missing := os.Lstat(v.Path(r.Volume)); missing != nil {
		return localvolume.Reply{}, err
	}
	return localvolume.Reply{Directories: []localvolume.Directory{directory(v.Dir, r.Volume)}}, err
}

// Path is what pods write of a volume.
func (v *Volumes) Path(volume string) string { return filepath.Join(v.Dir, volume, dataDir) }

// make makes a directory that every user may write, in one that only root may enter.
func (v *Volumes) make(r localvolume.Request) error {
	dir, path := filepath.Join(v.Dir, r.Volume), v.Path(r.Volume)
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, claimFile), []byte(r.Claim+"\n"), 0o600); err != nil {
		return err
	}
	made := path + ".new"
	err := os.Mkdir(made, 0o777)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err := errors.Join(err, os.Chmod(made, 0o777)); err != nil { // whatever the umask
		return err
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(dir), durable.SyncDir(v.Dir), durable.SyncDir(filepath.Dir(v.Dir)))
}

// remove removes a directory and all that is in it. It is first given a name that is no volume's, so that what is cut short is
// taken up by the next start, and never mistaken for a volume.
func (v *Volumes) remove(volume string) error {
	root, err := os.OpenRoot(v.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	if v.InUse != nil {
		if by := v.InUse(volume); by != "" {
			return fmt.Errorf("pod %s still has it", by)
		}
	}
	going := volume + goingSuffix
	if err := root.RemoveAll(going); err != nil { // of a try before
		return err
	}
	if err := root.Rename(volume, going); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.RemoveAll(going)
}

// removeUnused removes a directory in which there is nothing.
func (v *Volumes) removeUnused(volume string) error {
	err := os.Remove(v.Path(volume)) // fails if there is anything in it
	if errors.Is(err, unix.ENOTEMPTY) {
		return errors.New("there are files in it")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return v.remove(volume)
}

// Finish removes what was being removed when the agent ended.
func (v *Volumes) Finish() error {
	left, err := filepath.Glob(filepath.Join(v.Dir, "*"+goingSuffix))
	if err != nil || len(left) == 0 {
		return err
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var failed []error
	for _, path := range left {
		failed = append(failed, root.RemoveAll(filepath.Base(path)))
	}
	return errors.Join(failed...)
}

// List is the directories of volumes below dir, by name.
func List(dir string) ([]localvolume.Directory, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []localvolume.Directory
	for _, e := range entries {
		if e.IsDir() && localvolume.IsName(e.Name()) {
			all = append(all, directory(dir, e.Name()))
		}
	}
	return all, err
}

func directory(dir, volume string) localvolume.Directory {
	claim, _ := os.ReadFile(filepath.Join(dir, volume, claimFile)) // for people only
	return localvolume.Directory{Volume: volume, Claim: strings.TrimSpace(string(claim)), Path: filepath.Join(dir, volume, dataDir)}
}
