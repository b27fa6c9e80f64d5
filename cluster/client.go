package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/network/world"
)

// API says how a part that runs by itself reaches somebody else's API server.
type API struct {
	Kubeconfig string // a file; empty: as a pod does, by its ServiceAccount
	Server     string // URL, instead of the one that the kubeconfig names
}

// client says how to reach the API server. A part that makes Services reachable must not depend on one, so a pod
// has to be told the server's own address: that of the Service kubernetes works only after it has been programmed.
func (a API) client(version string) (*rest.Config, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	cfg.ContentConfig = rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"}
	cfg.UserAgent = "fairlead/" + version
	cfg.QPS, cfg.Burst = 50, 100
	return cfg, nil
}

func (a API) load() (*rest.Config, error) {
	if a.Kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("which API server? give --kubeconfig FILE; only in a pod is there another way")
		}
		if err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		if a.Server != "" {
			cfg.Host = a.Server
		}
		return cfg, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: a.Kubeconfig}
	over := &clientcmd.ConfigOverrides{}
	over.ClusterInfo.Server = a.Server
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, over).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", a.Kubeconfig, err)
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
