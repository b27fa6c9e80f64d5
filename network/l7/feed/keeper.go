package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/internal/durable"
)

// keeper writes what is served into a file, beside the goroutine that feeds: what has changed is added as a line, and the whole is
// written anew once the changes have become as long. Only root can read it: it has the keys of certificates.
type keeper struct {
	path string
	log  *slog.Logger
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	pending map[item]any // not written yet; nil: it is gone

	// Of its goroutine.
	have    map[item]any // that is in the file
	whole   int          // bytes of its first line; 0: the file is not ours yet
	changes int          // bytes of the others
	failing bool
}

const (
	// keepEvery is the least time between two writes, and most of them are so near to each other: a twentieth of the time goes into them
	// at most.
	keepEvery = time.Second
	keepShare = 20
	// fewChanges are written as lines in any case.
	fewChanges = 1 << 20
)

func newKeeper(path string, log *slog.Logger) *keeper {
	return &keeper{path: path, log: log, wake: make(chan struct{}, 1), pending: map[item]any{}, have: map[item]any{}}
}

// put has things kept as they are now. Nobody changes them any more.
func (k *keeper) put(changes map[item]any) {
	k.mu.Lock()
	maps.Copy(k.pending, changes)
	k.mu.Unlock()
	k.signal()
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx is done, and then what is left.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-k.wake:
		case <-ctx.Done():
			k.write()
			return
		}
		began := time.Now()
		k.write()
		select {
		case <-time.After(max(keepEvery, keepShare*time.Since(began))):
		case <-ctx.Done():
		}
	}
}

// write writes what is pending. What fails is tried again.
func (k *keeper) write() {
	k.mu.Lock()
	changes := k.pending
	k.pending = map[item]any{}
	k.mu.Unlock()
	forget := false // a key is not left lying about in a line that counts no more
	for of, now := range changes {
		was, had := k.have[of]
		switch {
		case !had && now == nil, had && alike(was, now):
			delete(changes, of)
		case now == nil:
			delete(k.have, of)
		default:
			k.have[of] = now
		}
		forget = forget || had && of.kind == itemSecret
	}
	if len(changes) == 0 && k.whole > 0 {
		return
	}
	var err error
	if k.whole == 0 || forget || k.changes > max(k.whole, fewChanges) {
		err = k.rewrite()
	} else {
		err = k.add(changes)
	}
	if err == nil {
		k.failing = false
		return
	}
	if !k.failing {
		k.log.Warn("what is served cannot be kept for a start without the API server; it is tried again", "err", err)
	}
	k.failing, k.whole = true, 0
	k.signal()
}

// rewrite writes everything anew.
func (k *keeper) rewrite() error {
	text, err := lineOf(k.have)
	if err == nil {
		err = durable.WriteFile(k.path, text, 0o600)
	}
	if err == nil {
		k.whole, k.changes = len(text), 0
	}
	return err
}

// add adds a line.
func (k *keeper) add(changes map[item]any) error {
	text, err := lineOf(changes)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	k.changes += len(text)
	return f.Sync()
}

// lineOf is things as a line of the file.
func lineOf(things map[item]any) ([]byte, error) {
	line := map[string]map[string]any{}
	for of, thing := range things {
		if line[of.kind] == nil {
			line[of.kind] = map[string]any{}
		}
		line[of.kind][of.name] = thing
	}
	text, err := json.Marshal(line)
	if err != nil {
		return nil, fmt.Errorf("encode what is served: %w", err)
	}
	return append(text, '\n'), nil
}

// alike reports whether two things are the same objects.
func alike(a, b any) bool {
	one, is := a.(keptService)
	if !is {
		return a == b
	}
	other, is := b.(keptService)
	return is && one.Service == other.Service && slices.Equal(one.Slices, other.Slices)
}
