// Fairlead is the Service layer of Kubernetes as one small program. This package reads flags and the environment,
// a file for each command, and prints; what the commands start is in package cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// version is set by the linker.
var version = "v0.1.0-dev"

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	if name := filepath.Base(args[0]); name == "kubectl" {
		return kubectl(args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		var moved *cluster.MovedError
		if errors.As(err, &moved) {
			fmt.Fprintf(os.Stderr, "fairlead: %v; it begins again with that\n", moved)
			err = reexec(afterBirth(args))
		}
		var code exitCode
		if errors.As(err, &code) {
			return int(code)
		}
		fmt.Fprintln(os.Stderr, "fairlead:", err)
		return 1
	}
	return 0
}

// exitCode ends the program with a code of its own; whatever was to be said has been said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "fairlead",
		Short:         "The Service layer of Kubernetes as one small program",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,

		PersistentPreRun: ownEnvironment,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; '%s --help' lists the flags", err, c.CommandPath())
	})
	root.AddCommand(
		upCommand(), downCommand(), statusCommand(), checkCommand(), debugCommand(),
		kubectlCommand(), imageCommand(), nodeCommand(), tokenCommand(),
		serverCommand(), agentCommand(), runCommand(), proxyCommand(), dnsCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) { fmt.Println(version) }},
	)
	refuseMistypes(root)
	return root
}

// refuseMistypes has every command below parent say how it is typed when its arguments do not fit, and a command that only
// groups others refuse a word that is none of theirs: cobra would print the help and call that a success.
func refuseMistypes(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		refuseMistypes(c)
		if fits := c.Args; fits != nil {
			c.Args = func(c *cobra.Command, args []string) error {
				if err := fits(c, args); err != nil {
					return fmt.Errorf("%w; type '%s'", err, c.UseLine())
				}
				return nil
			}
		}
		if c.HasSubCommands() && !c.Runnable() {
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return c.Help()
				}
				return fmt.Errorf("unknown command %q for %q; '%s --help' lists them", args[0], c.CommandPath(), c.CommandPath())
			}
		}
	}
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("must be run as root, it programs the kernel and runs containers; try 'sudo fairlead ...'")
	}
	return nil
}

// locate finds the cluster that a command which needs root is about.
func locate(flags config.Config) (instance.Instance, config.Settings, error) {
	if err := needRoot(); err != nil {
		return instance.Instance{}, config.Settings{}, err
	}
	return cluster.Locate(flags)
}

// processOf is what a command gives to what it starts.
func processOf(c *cobra.Command, pprof string) cluster.Process {
	return cluster.Process{Version: version, Pprof: pprof, In: c.InOrStdin(), Out: c.OutOrStdout(), Err: c.ErrOrStderr()}
}
