package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster"
	"fairlead.dev/fairlead/cluster/instance"
)

// runCommand is the cluster's main process, started by its keeper.
func runCommand() *cobra.Command {
	var dir, pprof string
	var k cluster.Keeper
	var reports, ready int
	c := &cobra.Command{
		Use:    "run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if k.Reports, err = inherited(reports); err != nil {
				return err
			}
			if k.Ready, err = inherited(ready); err != nil {
				return err
			}
			return cluster.Run(c.Context(), processOf(c, pprof), instance.Instance{Dir: dir}, k)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "")
	c.Flags().IntVar(&k.PID, "keeper", 0, "")
	c.Flags().IntVar(&reports, "report-fd", -1, "")
	c.Flags().IntVar(&ready, "ready-fd", -1, "")
	pprofFlag(c.Flags(), &pprof)
	return c
}

// inherited is a file that the process was born with; its children are not to have it. Below 0 there is none, and nobody reads.
func inherited(fd int) (*os.File, error) {
	if fd < 0 {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprint("fd", fd))
	if file == nil {
		return nil, errors.New("this command is started by 'fairlead up'")
	}
	syscall.CloseOnExec(fd)
	return file, nil
}

// afterBirth are the arguments of a main process without what counts only when a keeper starts it.
func afterBirth(args []string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--keeper", "--report-fd", "--ready-fd":
			i++ // and its value
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}

// reexec replaces this process by one with the same number and the given arguments.
func reexec(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("begin again: %w", syscall.Exec(self, args, os.Environ()))
}
