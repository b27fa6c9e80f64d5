package main

import (
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
)

// apiFlags are those of a part that runs by itself against somebody else's API server.
func apiFlags(c *cobra.Command, api *cluster.API, logLevel *string) {
	c.Flags().StringVar(&api.Kubeconfig, "kubeconfig", "", "how to reach the API server (default: as a pod does, by its ServiceAccount)")
	c.Flags().StringVar(&api.Server, "server", "", "URL of the API server, instead of the one that the kubeconfig names")
	c.Flags().StringVar(logLevel, "log-level", "info", "debug, info, warn or error")
}
