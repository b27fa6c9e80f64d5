package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fairlead.dev/fairlead/internal/durable"
)

// Kind is a sort of change that a Journal can take back.
type Kind string

// The kinds of change. The name of a change is a path, except where it says otherwise.
const (
	KindSysctl  Kind = "sysctl"  // a key below /proc/sys, as net/ipv4/ip_forward
	KindDir     Kind = "dir"     // a directory; undone only when empty
	KindTree    Kind = "tree"    // a directory and everything below it
	KindFile    Kind = "file"    // a file, socket or symbolic link
	KindMount   Kind = "mount"   // a mount point
	KindNetns   Kind = "netns"   // a file that a network namespace is bound to
	KindCgroup  Kind = "cgroup"  // a group in every hierarchy, as /fairlead/node1; undone with its processes
	KindProcess Kind = "process" // a process id
	KindLink    Kind = "link"    // the name of a network interface
	KindAddress Kind = "address" // link and prefix: "fairlead0 10.96.0.10/32"
	KindRoute   Kind = "route"   // link and destination: "fairlead0 10.96.0.0/12"
	KindRule    Kind = "rule"    // family, priority and table of a routing rule: "inet 100 200"
	KindTable   Kind = "table"   // family and name of an nf_tables table: "ip fairlead"
)

// Journal is the list of changes made to a host, kept in a file. Each change
// is on the disk before it is made, so that Undo can take it back whatever
// happened in between. Only what is in the file is ever undone.
//
// Changes to network state belong to the network namespace they were made in;
// Undo leaves those of other namespaces alone. Changes to kernel state end
// with the running kernel: after a reboot only files are undone.
type Journal struct {
	path string

	mu   sync.Mutex
	log  []entry
	boot string // boot id of the last line
	bad  []int  // line numbers that could not be read
}

// entry is one line of the file: a boot mark, a change, or the mark that a change is undone.
type entry struct {
	Boot   string `json:"boot,omitempty"`   // this and the following lines are of this kernel run
	N      int    `json:"n,omitempty"`      // number of the change
	Undone int    `json:"undone,omitempty"` // number of the change that is taken back

	Kind  Kind              `json:"kind,omitempty"`
	Name  string            `json:"name,omitempty"`
	Old   string            `json:"old,omitempty"`   // sysctl: the value before
	New   string            `json:"new,omitempty"`   // sysctl: the value set
	With  map[string]string `json:"with,omitempty"`  // sysctl: other keys that change along, with their values before
	Start uint64            `json:"start,omitempty"` // process: when it started, in clock ticks since the boot
	Net   uint64            `json:"net,omitempty"`   // inode of the network namespace
}

// bootID names the present run of the kernel.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// OpenJournal reads the journal in the file path; without the file it is
// empty. A last line that was cut short by a crash is dropped: its change was
// never made.
func OpenJournal(path string) (*Journal, error) {
	j := &Journal{path: path}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if len(whole) < len(data) {
		if err := os.Truncate(path, int64(len(whole))); err != nil {
			return nil, fmt.Errorf("open journal: drop its cut line: %w", err)
		}
	}
	number := 0
	for line := range bytes.Lines(whole) {
		number++
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			j.bad = append(j.bad, number)
			continue
		}
		if e.Boot != "" {
			j.boot = e.Boot
		}
		e.Boot = j.boot
		j.log = append(j.log, e)
	}
	return j, nil
}

// Record notes that the caller is about to make the thing of the given kind
// and name; Undo will remove it. A thing that exists already and is not in
// the journal is somebody else's: it is not recorded and will stay. Sysctls
// have a method of their own.
func (j *Journal) Record(kind, name string) error {
	k := Kind(kind)
	d, ok := deeds[k]
	if !ok || d.exists == nil {
		return fmt.Errorf("journal: cannot record a %q", kind)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e := entry{Kind: k, Name: name}
	if d.perNet {
		var err error
		if e.Net, err = netID(); err != nil {
			return fmt.Errorf("journal: %s %s: %w", kind, name, err)
		}
	}
	if k == KindProcess {
		var err error
		if e.Start, err = startTime(name); err != nil {
			return fmt.Errorf("journal: process %s: %w", name, err)
		}
	}
	if j.holds(e) {
		return nil
	}
	exists, err := d.exists(name)
	if err != nil {
		return fmt.Errorf("journal: %s %s: %w", kind, name, err)
	}
	if exists && k != KindProcess {
		return nil
	}
	return j.add(e)
}

// Has tells whether the journal holds a change of this kind and name that is not undone.
func (j *Journal) Has(kind Kind, name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.standing() {
		if e.Kind == kind && e.Name == name {
			return true
		}
	}
	return false
}

// holds tells whether the same change stands in the journal, made in this run of the kernel.
func (j *Journal) holds(want entry) bool {
	boot, err := bootID()
	return slices.ContainsFunc(j.standing(), func(e entry) bool {
		same := e.Kind == want.Kind && e.Name == want.Name && e.Net == want.Net && e.Start == want.Start
		return same && (onDisk[e.Kind] || err == nil && e.Boot == boot)
	})
}

// standing are the changes that are not undone, in the order they were made.
func (j *Journal) standing() []entry {
	undone := map[int]bool{}
	for _, e := range j.log {
		undone[e.Undone] = true
	}
	var out []entry
	for _, e := range j.log {
		if e.N != 0 && !undone[e.N] {
			out = append(out, e)
		}
	}
	return out
}

// add numbers a change and writes it, after the mark of a new boot if there was one.
func (j *Journal) add(e entry) error {
	boot, err := bootID()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, old := range j.log {
		e.N = max(e.N, old.N)
	}
	e.N++
	lines := []entry{e}
	if j.boot != boot {
		lines = []entry{{Boot: boot}, e}
	}
	if err := j.write(lines); err != nil {
		return err
	}
	j.boot, e.Boot = boot, boot
	j.log = append(j.log, e)
	return nil
}

// write appends lines to the file and waits until they are on the disk.
func (j *Journal) write(lines []entry) error {
	var buf bytes.Buffer
	for _, e := range lines {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		buf.Write(append(line, '\n'))
	}
	_, err := os.Stat(j.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = f.Write(buf.Bytes())
	err = errors.Join(err, f.Sync(), f.Close())
	if fresh {
		err = errors.Join(err, durable.SyncDir(filepath.Dir(j.path)))
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
