package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/internal/pages"
	"fairlead.dev/fairlead/network/world"
)

// aloneFlags are those of a part that runs by itself against somebody else's API server.
type aloneFlags struct {
	kubeconfig, server, logLevel string
}

func (f *aloneFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the API server (default: as a pod does, by its ServiceAccount)")
	c.Flags().StringVar(&f.server, "server", "", "URL of the API server, instead of the one that the kubeconfig names")
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
}

// client says how to reach the API server. A part that makes Services reachable must not depend on one, so a pod
// has to be told the server's own address: that of the Service kubernetes works only after it has been programmed.
func (f *aloneFlags) client() (*rest.Config, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	cfg.ContentConfig = rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"}
	cfg.UserAgent = "fairlead/" + version
	cfg.QPS, cfg.Burst = 50, 100
	return cfg, nil
}

func (f *aloneFlags) load() (*rest.Config, error) {
	if f.kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("which API server? give --kubeconfig FILE; only in a pod is there another way")
		}
		if err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		if f.server != "" {
			cfg.Host = f.server
		}
		return cfg, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: f.kubeconfig}
	over := &clientcmd.ConfigOverrides{}
	over.ClusterInfo.Server = f.server
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, over).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", f.kubeconfig, err)
	}
	return cfg, nil
}

// sayWaiting tells from time to time that the API server has not answered yet; the libraries say why.
func sayWaiting(ctx context.Context, w *world.World, server string, log *slog.Logger) error {
	const every = 15 * time.Second
	for {
		select {
		case <-w.Synced():
			log.Info("Services are known", "server", server)
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(every):
			log.Warn("still waiting for the first lists; what an earlier run has set up stays as it is", "server", server)
		}
	}
}

// dropStart gives back what only starting needed.
func dropStart(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := pages.Drop(); err != nil {
		log.Warn("memory of the start is kept", "err", err)
	}
}

// parsed reads the values of a flag, at most one of each family.
func parsed[T netip.Addr | netip.Prefix | netip.AddrPort](flag string, values []string, parse func(string) (T, error), is6 func(T) bool) ([]T, error) {
	var all []T
	for _, text := range values {
		v, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		for _, other := range all {
			if is6(other) == is6(v) {
				return nil, fmt.Errorf("%s: %v and %v are of one family; give at most one IPv4 and one IPv6", flag, other, v)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func addrsOf(flag string, values []string) ([]netip.Addr, error) {
	return parsed(flag, values, netip.ParseAddr, netip.Addr.Is6)
}

func prefixesOf(flag string, values []string) ([]netip.Prefix, error) {
	return parsed(flag, values, netip.ParsePrefix, func(p netip.Prefix) bool { return p.Addr().Is6() })
}
