package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/host/netns"
)

func nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Work on a lab's nodes"}
	c.AddCommand(nodeExecCommand())
	return c
}

func nodeExecCommand() *cobra.Command {
	var flags config.Config
	c := &cobra.Command{
		Use: "exec NODE -- CMD [ARG ...]",

		Annotations: usersEnvironment,
		Short:       "Run a command inside a lab node's network namespace",
		Args:        cobra.MinimumNArgs(2),
		RunE:        func(_ *cobra.Command, args []string) error { return nodeExec(flags, args[0], args[1:]) },
	}
	whereFlags(c, &flags)
	return c
}

func nodeExec(flags config.Config, name string, args []string) error {
	if err := needRoot(); err != nil {
		return err
	}
	inst, s, err := cluster.Locate(flags)
	if err != nil {
		return err
	}
	if s.Nodes == 0 {
		return fmt.Errorf("cluster %q is no lab: its node is this host, run the command itself", s.Name)
	}
	names := cluster.NodesOf(inst)
	path := inst.Path("netns", name)
	if _, err := os.Stat(path); err != nil || name == "fabric" {
		return fmt.Errorf("no node %q in cluster %q; there are %s", name, s.Name, strings.Join(names, ", "))
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Ignore(os.Interrupt) // the terminal sends it to the command as well, which decides
	if err := netns.Start(path, cmd); err != nil {
		return err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	return err
}
