package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/registry"
)

// registries have a node's containerd reach registries as the configuration file says. The file is looked at before every pull, so
// that a change counts at once and costs nothing while nothing is pulled.
type registries struct {
	file    string         // the configuration file
	proxy   registry.Proxy // what counts where the file names none
	reached []string       // what is reached without a proxy in any case
	runtime *cri.Runtime
	log     *slog.Logger

	mu   sync.Mutex
	seen stamp // the version of the file that was read last
	now  registry.Registries
}

// stamp tells versions of a file apart; the zero value is a file that is not there.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// registries are those of the node.
func (n nodeSpec) registries(runtime *cri.Runtime, log *slog.Logger) *registries {
	return &registries{file: n.File, proxy: n.Own.Proxy, reached: n.withoutProxy(), runtime: runtime, log: log.With("part", "registries")}
}

// withoutProxy is what the parts of a cluster reach directly: pods, Services, nodes and their names.
func (n nodeSpec) withoutProxy() []string {
	all := []string{"localhost", "127.0.0.0/8", "::1", "." + n.Domain, ".svc"}
	for _, p := range slices.Concat(n.Pods, n.Services) {
		all = append(all, p.String())
	}
	for _, a := range slices.Concat(n.addrs, n.host) {
		all = append(all, a.String())
	}
	return all
}

// first tells containerd before it is started. Who starts a cluster was told of what is wrong with the file; a node that comes up
// again comes up in any case.
func (r *registries) first() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = stampOf(r.file)
	said, err := config.Registries(r.file)
	if err != nil {
		r.log.Error("images are pulled without what is said of registries", "err", err)
		said = registry.Registries{}
	}
	if _, err := r.tell(said); err != nil {
		r.log.Error("what is said of registries does not reach containerd", "err", err)
	}
}

// current is what the file says. What is wrong with it is logged, and what it said before counts on.
func (r *registries) current(ctx context.Context) registry.Registries {
	r.mu.Lock()
	defer r.mu.Unlock()
	version := stampOf(r.file)
	if version == r.seen {
		return r.now
	}
	r.seen = version
	said, err := config.Registries(r.file)
	var again bool
	if err == nil {
		again, err = r.tell(said)
	}
	if err == nil && again {
		err = r.runtime.Start(ctx)
	}
	if err != nil {
		r.log.Error("registries stay as they were", "err", err)
	} else {
		r.log.Info("registries are now as the file says", "file", r.file)
	}
	return r.now
}

// tell has containerd do what is said. It reports whether that has to be started again for it.
func (r *registries) tell(said registry.Registries) (again bool, err error) {
	if err := registry.Write(r.runtime.HostsDir(), said); err != nil {
		return false, err
	}
	r.now = said
	return r.runtime.SetProxy(proxyOf(said, r.proxy).Environment(r.reached)), nil
}

// proxyOf is the proxy that counts: the file's, else the environment's.
func proxyOf(said registry.Registries, environment registry.Proxy) registry.Proxy {
	if said.Proxy != (registry.Proxy{}) {
		return said.Proxy
	}
	return environment
}

// tellRegistries says through whom images are pulled.
func tellRegistries(out io.Writer, c config.Config) {
	if p := proxyOf(c.Registries, c.Own.Proxy); p.Environment(nil) != nil {
		fmt.Fprintf(out, "  images are pulled through a proxy: %s\n", p)
	}
}
