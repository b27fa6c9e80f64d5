package main

import (
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
)

func agentCommand() *cobra.Command {
	var a cluster.Agent
	var l labFlags
	var pprof string
	c := &cobra.Command{
		Use:   "agent --server URL --token-file FILE",
		Short: "Make this machine a node of a cluster, in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if a.Reports, err = inherited(l.reportFD); err != nil {
				return err
			}
			if err := needRoot(); err != nil {
				return err
			}
			if a.Lab, err = l.node(); err != nil {
				return err
			}
			a.Own.Proxy = environmentProxy
			if l.dir != "" {
				a.File = l.config
			}
			return cluster.RunAgent(c.Context(), processOf(c, pprof), a)
		},
	}
	whereFlags(c, &a.Config)
	c.Flags().StringVar(&a.Server, "server", "", "the API server, https://ADDR:PORT")
	c.Flags().StringVar(&a.Token, "token", "", "the token itself; the host's other users can read it in the list of processes")
	c.Flags().StringVar(&a.TokenFile, "token-file", "", "a copy of the server's file join-token")
	c.Flags().StringVar(&a.NodeName, "node-name", "", "name of the node (default: the host name)")
	c.Flags().StringVar(&a.NodeIP, "node-ip", "", "address of the node, one of each family (default: those of the default routes)")
	c.Flags().IntVar(&a.AgentPort, "agent-port", 0, "port of the agent (default 10250)")
	c.Flags().StringVar(&a.LogLevel, "log-level", "", "debug, info, warn or error (default info)")
	pprofFlag(c.Flags(), &pprof)
	l.bind(c)
	c.MarkFlagRequired("server")
	c.MarkFlagsOneRequired("token", "token-file")
	c.MarkFlagsMutuallyExclusive("token", "token-file")
	return c
}

// labFlags are what a lab tells the agent of one of its nodes.
type labFlags struct {
	dir, upstream string
	config        string   // the cluster's configuration file
	host          []string // the host's addresses in the lab
	reportFD      int      // where the agent tells of its start
}

func (l *labFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&l.dir, "lab-dir", "", "")
	c.Flags().StringVar(&l.config, "config-file", "", "")
	c.Flags().StringVar(&l.upstream, "upstream-netns", "", "")
	c.Flags().StringSliceVar(&l.host, "lab-host", nil, "")
	c.Flags().IntVar(&l.reportFD, "report-fd", -1, "")
	for _, hidden := range []string{"lab-dir", "config-file", "upstream-netns", "lab-host", "report-fd"} {
		c.Flags().MarkHidden(hidden)
	}
}

// node is the lab's node; nil: the agent is no lab's.
func (l *labFlags) node() (*cluster.LabNode, error) {
	if l.dir == "" {
		return nil, nil
	}
	host, err := config.Addrs("lab-host", l.host)
	return &cluster.LabNode{Dir: l.dir, Upstream: l.upstream, Host: host}, err
}
