package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/config"
	"fairlead.dev/fairlead/cri"
	"fairlead.dev/fairlead/instance"
	"fairlead.dev/fairlead/kubeconfig"
)

// startTimeout bounds a start. A machine that needs longer has another problem.
const startTimeout = 2 * time.Minute

func upCommand() *cobra.Command {
	var flags config.Config
	var pprof string
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster in the background and wait until everything answers",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return up(c.Context(), flags, pprof, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags.Flags(c.Flags())
	pprofFlag(c.Flags(), &pprof)
	return c
}

func up(ctx context.Context, flags config.Config, pprof string, out, warnings io.Writer) error {
	if err := needRoot(); err != nil {
		return err
	}
	s, err := resume(flags)
	if err != nil {
		return err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if pid, running := inst.Running(); running {
		return &instance.RunningError{Dir: s.DataDir, PID: pid}
	}
	if err := refuseTwin(s); err != nil {
		return err
	}
	if err := preflight(ctx, s, warnings); err != nil {
		return err
	}
	fresh := !inst.Exists()
	if err := inst.Prepare(); err != nil {
		return err
	}
	if err := inst.SaveSettings(s.Config); err != nil {
		return err
	}
	start := time.Now()
	if err := spawn(ctx, inst, pprof, out); err != nil {
		if !fresh {
			return fmt.Errorf("%w (the whole story is in %s)", err, inst.Path("server.log"))
		}
		err = fmt.Errorf("%w%s", err, lastWords(inst.Path("server.log")))
		return errors.Join(err, down(context.WithoutCancel(ctx), inst, s, false, io.Discard)) // leave nothing half done
	}
	if err := mergeKubeconfig(inst); err != nil {
		fmt.Fprintln(out, "  note:", err)
	}
	fmt.Fprintf(out, "Cluster %q is up after %.1f s. Next:\n\n  fairlead kubectl%s get nodes\n\n", s.Name, time.Since(start).Seconds(), contextFlag(s))
	return nil
}

// resume completes flags with what an existing cluster was last started with, so that `up` alone brings it back as it
// was. Its nodes may become more, but a cluster on the host itself cannot become a lab: its containers are elsewhere.
func resume(flags config.Config) (config.Settings, error) {
	s, err := config.Resolve(flags)
	if err != nil {
		return s, err
	}
	saved, err := instance.Instance{Dir: s.DataDir}.LoadSettings()
	if err != nil {
		return s, nil // a new cluster
	}
	if flags.Nodes > 0 && flags.Nodes < saved.Nodes || flags.Nodes > 0 && saved.Nodes == 0 {
		return s, fmt.Errorf("cluster %q in %s was started with --nodes %d; take it down first, or give the new one another --name", saved.Name, s.DataDir, saved.Nodes)
	}
	return config.Resume(flags, saved)
}

// refuseTwin refuses a cluster of the same name as one with other data that has containers on this host: names of control
// groups have no place for a second.
func refuseTwin(s config.Settings) error {
	files, err := cri.Strangers(clusterCgroup(s.Name), s.DataDir)
	if err != nil || len(files) == 0 {
		return err
	}
	return fmt.Errorf("a cluster named %q with other data has containers on this host (%s): take that one down, or give this one another --name", s.Name, files[0])
}

// contextFlag is what kubectl needs to reach a cluster that is not the default one.
func contextFlag(s config.Settings) string {
	if s.DataDir == "/var/lib/"+config.DefaultName {
		return ""
	}
	return " --kubeconfig " + filepath.Join(s.DataDir, "admin.kubeconfig")
}

// spawn starts the cluster's own process and follows its reports until it is ready. The process outlives
// this one: it has a session of its own and logs to DIR/server.log.
func spawn(ctx context.Context, inst instance.Instance, pprof string, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(inst.Path("server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	reports, childEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	cmd := exec.Command(self, "run", "--data-dir", inst.Dir, "--report-fd", "3", "--pprof", pprof)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{childEnd}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	childEnd.Close()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := follow(ctx, reports, out); err != nil {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		return err
	}
	return cmd.Process.Release()
}

// lastWords is the end of a log that is about to be removed.
func lastWords(path string) string {
	text, _ := os.ReadFile(path) // an error has been told already
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-5):]
	if lines[0] == "" {
		return ""
	}
	return "\nits log ended:\n  " + strings.Join(lines, "\n  ")
}

// follow prints reports until the cluster is ready, fails, or ctx ends.
func follow(ctx context.Context, reports *os.File, out io.Writer) error {
	stop := context.AfterFunc(ctx, func() { reports.Close() })
	defer stop()
	lines := json.NewDecoder(reports)
	for {
		var r report
		err := lines.Decode(&r)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("start: %w", context.Cause(ctx))
		case err != nil:
			return errors.New("start: the cluster's process ended before it was ready")
		case r.Error != "":
			return errors.New(r.Error)
		case r.Ready:
			return nil
		}
		r.print(out)
	}
}

// mergeKubeconfig adds the cluster's context to the invoking user's kubeconfig.
func mergeKubeconfig(inst instance.Instance) error {
	path, err := kubeconfig.UserFile()
	if err != nil {
		return err
	}
	entry, err := kubeconfig.Read(inst.Path("admin.kubeconfig"))
	if err != nil {
		return err
	}
	return kubeconfig.Add(path, inst.Path("kubeconfig-merge.json"), entry)
}

// runCommand is the cluster's own process, started by `up`.
func runCommand() *cobra.Command {
	var dir, pprof string
	var reportFD int
	c := &cobra.Command{
		Use:    "run",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			reports := os.NewFile(uintptr(reportFD), "fd"+strconv.Itoa(reportFD))
			if reports == nil {
				return errors.New("run: is started by 'fairlead up'")
			}
			syscall.CloseOnExec(reportFD)
			st := newStages(reports)
			inst := instance.Instance{Dir: dir}
			saved, err := inst.LoadSettings()
			if err == nil {
				err = runCluster(c.Context(), inst, saved, pprof, st)
			}
			if err != nil {
				st.failed(err)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "")
	c.Flags().IntVar(&reportFD, "report-fd", 2, "")
	pprofFlag(c.Flags(), &pprof)
	return c
}
