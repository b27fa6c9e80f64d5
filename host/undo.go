package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// deed is how one kind of change is recognised and taken back.
type deed struct {
	exists func(name string) (bool, error)
	// undo takes the change back and tells whether there was anything to do.
	undo   func(ctx context.Context, e entry) (bool, error)
	perNet bool // the change belongs to a network namespace
}

// deeds has every kind. It is filled here so that a kind cannot be recorded
// without a way to undo it.
var deeds = map[Kind]deed{
	KindSysctl:  {undo: undoSysctl, perNet: true},
	KindDir:     {exists: pathExists, undo: undoDir},
	KindTree:    {exists: pathExists, undo: undoTree},
	KindFile:    {exists: pathExists, undo: undoFile},
	KindMount:   {exists: isMountPoint, undo: undoMount},
	KindNetns:   {exists: pathExists, undo: undoNetns},
	KindCgroup:  {exists: cgroupExists, undo: undoCgroup},
	KindProcess: {exists: pidExists, undo: undoProcess},
	KindLink:    {exists: linkExists, undo: undoLink, perNet: true},
	KindAddress: {exists: addressExists, undo: undoAddress, perNet: true},
	KindRoute:   {exists: routeExists, undo: undoRoute, perNet: true},
	KindRule:    {exists: ruleExists, undo: undoRule, perNet: true},
	KindTable:   {exists: tableExists, undo: undoTable, perNet: true},
}

// onDisk are the kinds that outlive the running kernel.
var onDisk = map[Kind]bool{KindDir: true, KindTree: true, KindFile: true, KindNetns: true}

// Undo takes back every change in the journal, the last one first, and
// returns a line for each that there was something to do for. It may be
// called again after a failure or a crash. When nothing is left it removes
// the journal's file.
//
// A change that cannot be taken back does not keep the others from being: the
// error names them all.
func (j *Journal) Undo(ctx context.Context) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("undo: %w", err)
	}
	net, err := netID()
	if err != nil {
		return nil, fmt.Errorf("undo: %w", err)
	}
	var done []string
	var failed []error
	for _, e := range slices.Backward(j.standing()) {
		if err := ctx.Err(); err != nil {
			return done, fmt.Errorf("undo: %w", errors.Join(append(failed, err)...))
		}
		d, known := deeds[e.Kind]
		if !known {
			failed = append(failed, fmt.Errorf("%s %s: a kind this version does not know", e.Kind, e.Name))
			continue
		}
		did := false
		if (e.Boot == boot || onDisk[e.Kind]) && (!d.perNet || e.Net == net || isGlobal(e)) {
			if did, err = d.undo(ctx, e); err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", e.Kind, e.Name, err))
				continue
			}
		}
		if did {
			done = append(done, describe(e))
		}
		if err := j.write([]entry{{Undone: e.N}}); err != nil {
			return done, errors.Join(append(failed, err)...)
		}
		j.log = append(j.log, entry{Undone: e.N})
	}
	return done, j.finish(failed)
}

// finish removes the file if everything in it was read and undone.
func (j *Journal) finish(failed []error) error {
	if len(j.bad) > 0 {
		failed = append(failed, fmt.Errorf("%s: lines %v cannot be read: what they say was not undone; look at them, then remove the file", j.path, j.bad))
	}
	if len(failed) > 0 {
		return fmt.Errorf("undo: %w", errors.Join(failed...))
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("undo: %w", err)
	}
	j.log, j.boot = nil, ""
	return nil
}

// isGlobal tells whether a sysctl is one of the whole kernel, not of a network namespace.
func isGlobal(e entry) bool {
	return e.Kind == KindSysctl && !strings.HasPrefix(e.Name, "net/")
}

func describe(e entry) string {
	if e.Kind == KindSysctl {
		return fmt.Sprintf("sysctl %s back to %s", e.Name, e.Old)
	}
	return fmt.Sprintf("%s %s", e.Kind, e.Name)
}

// undoTimeout is how long Undo waits for one process, or the processes of one group, to end.
const undoTimeout = 5 * time.Second

// await polls ok until it is true, ctx ends or undoTimeout has passed.
func await(ctx context.Context, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}
