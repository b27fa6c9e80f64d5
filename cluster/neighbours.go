package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/keeper"
)

// hostLock is held while somebody chooses what all clusters of this host share. It is a file only meanwhile.
const hostLock = "/run/fairlead.lock"

// lockHost waits until nobody else chooses. The lock may be let go of more than once.
func lockHost(ctx context.Context) (unlock func(), err error) {
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; {
		file, err := tryLock(hostLock)
		if err != nil {
			return nil, fmt.Errorf("lock of this host: %w", err)
		}
		if file != nil {
			return sync.OnceFunc(func() {
				os.Remove(hostLock)
				file.Close()
			}), nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("another 'fairlead up' has held %s for %s; 'fuser %s' names it", hostLock, patience, hostLock)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tryLock is nothing without an error when somebody else holds the file, or has just removed it.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	held := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	is, err1 := file.Stat()
	at, err2 := os.Stat(path)
	if held == nil && err1 == nil && err2 == nil && os.SameFile(is, at) {
		return file, nil
	}
	file.Close()
	return nil, nil
}

// neighbour is another cluster that runs on this host.
type neighbour struct {
	dir  string
	pods []netip.Prefix
}

// neighbours finds the clusters of this host, besides the one in a directory, by the processes that keep them.
func neighbours(except string) []neighbour {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	dirs := map[string]bool{except: true}
	var all []neighbour
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		dir := clusterDir(strings.Split(string(text), "\x00"))
		if dir == "" || dirs[dir] {
			continue
		}
		dirs[dir] = true
		saved, err := instance.Instance{Dir: dir}.LoadSettings()
		if err != nil {
			continue
		}
		if pods, err := config.Prefixes("", strings.Split(saved.PodCIDR, ",")); err == nil {
			all = append(all, neighbour{dir: dir, pods: pods})
		}
	}
	return all
}

// clusterDir is the data directory that a process serves, by its command line; empty: it is none of ours.
func clusterDir(args []string) string {
	switch {
	case len(args) > 3 && args[1] == keeper.Command:
		return args[2]
	case len(args) > 3 && args[1] == "run" && args[2] == "--data-dir":
		return args[3]
	}
	return ""
}

// apart chooses for a new cluster ranges that neither another cluster nor the host's own network uses, where nobody asked
// for others.
func apart(flags config.Config, s config.Settings) (config.Settings, error) {
	routed, err := host.Routed()
	if err != nil {
		return s, err
	}
	services := routed
	if s.Nodes > 0 {
		services = nil // those of a lab are seen in its nodes only
	}
	taken := slices.Clone(routed)
	for _, n := range neighbours(s.DataDir) {
		taken = append(taken, n.pods...)
	}
	return config.Resume(flags, s.Apart(taken, services))
}

// freePool chooses networks for Services of type LoadBalancer that this host alone reaches.
func freePool(s config.Settings) (string, error) {
	routed, err := host.Routed()
	if err != nil {
		return "", err
	}
	chosen, err := s.FreePool(routed)
	if err != nil {
		return "", err
	}
	return config.Chosen(chosen), nil
}

// refuseNeighbours refuses pod ranges that another running cluster of this host has.
func refuseNeighbours(s config.Settings) error {
	var errs []error
	for _, n := range neighbours(s.DataDir) {
		for _, p := range s.Pods {
			if slices.ContainsFunc(n.pods, p.Overlaps) {
				errs = append(errs, fmt.Errorf("pod-cidr %q: the cluster in %s, which runs, has pods with such addresses; take that one down, or make this one with another --pod-cidr", p, n.dir))
			}
		}
	}
	return errors.Join(errs...)
}
