package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cluster/instance"
)

// birth is what the keeper gives a main process on its way.
type birth struct {
	keeper   int // the process; 0: there is none
	reportFD int // where the stages of the start are told
	readyFD  int // where a byte says that the cluster is ready
}

// runCommand is the cluster's main process, started by its keeper.
func runCommand() *cobra.Command {
	var dir, pprof string
	var b birth
	c := &cobra.Command{
		Use:    "run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runMain(c.Context(), instance.Instance{Dir: dir}, pprof, b)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "")
	c.Flags().IntVar(&b.keeper, "keeper", 0, "")
	c.Flags().IntVar(&b.reportFD, "report-fd", -1, "")
	c.Flags().IntVar(&b.readyFD, "ready-fd", -1, "")
	pprofFlag(c.Flags(), &pprof)
	return c
}

func runMain(ctx context.Context, inst instance.Instance, pprof string, b birth) error {
	reports, err := inherited(b.reportFD)
	if err != nil {
		return err
	}
	marks, err := inherited(b.readyFD)
	if err != nil {
		return err
	}
	// When memory runs out, the kernel is to end this process rather than the keeper. It may be that neither may choose.
	os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0o644)
	st := newStages(reports)
	st.onReady = func() { marks.Write([]byte{1}) }
	err = runCluster(ctx, inst, pprof, b, st)
	if err != nil {
		st.failed(err)
	}
	return err
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

// orphan reports whether the keeper ended while this process began: whoever ended it did not see this one, and means it too.
func (b birth) orphan() bool { return b.keeper != 0 && os.Getppid() != b.keeper }

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
