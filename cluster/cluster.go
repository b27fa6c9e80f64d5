// Package cluster is what the commands start, wired from the parts: a cluster in the background and its end (up, down), its main
// process (run, as this host or as a lab), the control plane alone, a node's agent, the service proxy and the name server by
// themselves. It is told everything: flags and the environment are read by the program.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// Process is what a process of the program has besides the settings of its cluster.
type Process struct {
	Version string // of the program
	Pprof   string // where Go's profiles are served, ADDR:PORT; empty: nowhere
	In      io.Reader
	Out     io.Writer // what a person is told
	Err     io.Writer // warnings, and the log
}

// logger writes lines of a level and above; the Kubernetes libraries log through it as well.
func (p Process) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, fmt.Errorf("log-level %q: must be debug, info, warn or error", level)
	}
	log := slog.New(slog.NewTextHandler(p.Err, &slog.HandlerOptions{Level: l}))
	apiserver.RedirectLogs(log.With("part", "kubernetes"))
	return log, nil
}

// nodeClient is how a node's parts reach the API server; who they are and by which way is the transport's.
func (p Process) nodeClient(server string, transport http.RoundTripper) *rest.Config {
	return &rest.Config{
		Host:          server,
		Transport:     transport,
		ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"},
		UserAgent:     "fairlead-agent/" + p.Version,
		QPS:           500, // a node's own writes are few; the limit only guards against a loop gone wild
		Burst:         1000,
	}
}

// Locate finds the instance that flags name, with the settings it was last started with.
func Locate(flags config.Config) (instance.Instance, config.Settings, error) {
	s, err := config.Resolve(flags)
	if err != nil {
		return instance.Instance{}, s, err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if err := inst.Trusted(); err != nil {
		return inst, s, err
	}
	if !inst.Exists() {
		if _, err := inst.LoadSettings(); err == nil {
			return inst, s, inst.MayMake("version")
		}
		return inst, s, fmt.Errorf("nothing here: %s holds no Fairlead cluster; 'fairlead up' starts one, --name or --data-dir names another", s.DataDir)
	}
	started, err := inst.LoadSettings()
	if errors.Is(err, fs.ErrNotExist) {
		return inst, s, nil // never got as far as starting
	}
	if err != nil {
		return inst, s, err
	}
	if flags.Name != "" && flags.Name != started.Name {
		return inst, s, fmt.Errorf("name %q: the cluster in %s is named %q", flags.Name, s.DataDir, started.Name)
	}
	started.DataDir = s.DataDir
	s, err = config.Resolve(started)
	return inst, s, err
}

// named runs a part and says which one failed. A part that returns before it was told to stop has failed.
func named(name string, ctx context.Context, run func(context.Context) error) func() error {
	return func() error {
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("stopped by itself")
		}
		return fmt.Errorf("%s: %w", name, err)
	}
}
