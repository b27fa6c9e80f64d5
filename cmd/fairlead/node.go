package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/config"
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
	inst, s, err := locate(flags)
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signal.Ignore(os.Interrupt) // the terminal sends it to the command as well, which decides
	if err := cluster.StartOnNode(inst, s, name, cmd); err != nil {
		return err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	return err
}
