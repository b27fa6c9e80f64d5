package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/cluster/kubeconfig"
	"fairlead.dev/fairlead/internal/keeper"
	"fairlead.dev/fairlead/node/cri"
)

// startTimeout bounds a start. A machine that needs longer has another problem.
const startTimeout = 2 * time.Minute

// Up starts a cluster in the background and waits until everything answers. It tells p.Out of each stage.
func Up(ctx context.Context, p Process, flags config.Config) error {
	s, err := resume(flags)
	if err != nil {
		return err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if done, err := runsAlready(ctx, inst, p.Out); done || err != nil {
		return err
	}
	if _, err := config.Registries(s.File); err != nil {
		return err
	}
	if err := refuseSameName(s); err != nil {
		return err
	}
	unlock, err := lockHost(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if s, err = complete(flags, s, inst); err != nil {
		return err
	}
	if err := preflight(ctx, s, p.Err); err != nil {
		return err
	}
	fresh := !inst.Exists()
	if err := inst.Prepare(); err != nil {
		return err
	}
	starting, done, err := begin(ctx, inst, p.Out)
	if done || err != nil {
		return err
	}
	defer starting.Close()
	if err := inst.SaveSettings(s.Config); err != nil {
		return err
	}
	start := time.Now()
	if err := spawn(ctx, inst, p.Pprof, p.Out, unlock); err != nil {
		return failed(ctx, inst, s, fresh, err)
	}
	if err := mergeKubeconfig(inst, p.Out); err != nil {
		fmt.Fprintln(p.Out, "  note:", err)
	}
	tellAudit(p.Out, s.Config)
	tellRegistries(p.Out, s.Config)
	fmt.Fprintf(p.Out, "Cluster %q is up after %.1f s. Next:\n\n  fairlead kubectl%s get nodes\n\n", s.Name, time.Since(start).Seconds(), contextFlag(s))
	return nil
}

// tellAudit says where requests are written down.
func tellAudit(out io.Writer, c config.Config) {
	if log := c.AuditLog(); log != "" {
		fmt.Fprintln(out, "  requests to the API are written down in", log)
	}
}

// failed says why a start failed. Of a cluster that is not older than that nothing stays.
func failed(ctx context.Context, inst instance.Instance, s config.Settings, fresh bool, err error) error {
	if !fresh {
		return fmt.Errorf("%w (the whole story is in %s)", err, inst.Path("server.log"))
	}
	err = fmt.Errorf("%w%s", err, logTail(inst.Path("server.log")))
	return errors.Join(err, Down(context.WithoutCancel(ctx), inst, s, false, io.Discard)) // leave nothing half done
}

// complete decides what a cluster keeps from its first start on: its ranges, the name of this host as a node, and its own addresses for
// Services.
func complete(flags config.Config, s config.Settings, inst instance.Instance) (config.Settings, error) {
	_, err := inst.LoadSettings()
	if errors.Is(err, fs.ErrNotExist) {
		s, err = apart(flags, s)
	}
	if err == nil {
		err = refuseNeighbours(s)
	}
	if err == nil && s.Nodes == 0 {
		s.NodeName, err = nodeName(s.NodeName)
	}
	if err == nil && s.Nodes == 0 && s.Pool.Auto {
		s.LBPool, err = freePool(s)
	}
	return s, err
}

// resume completes flags with what an existing cluster was last started with, so that `up` alone brings it back as it
// was. Its nodes may become more, but a cluster on the host itself cannot become a lab: its containers are elsewhere.
func resume(flags config.Config) (config.Settings, error) {
	s, err := config.Resolve(flags)
	if err != nil {
		return s, err
	}
	inst := instance.Instance{Dir: s.DataDir}
	if err := inst.Trusted(); err != nil {
		return s, err
	}
	saved, err := inst.LoadSettings()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil // a new cluster
	}
	if err != nil {
		return s, err
	}
	if flags.Nodes > 0 && flags.Nodes < saved.Nodes || flags.Nodes > 0 && saved.Nodes == 0 {
		return s, fmt.Errorf("cluster %q in %s was started with --nodes %d; take it down first, or give the new one another --name", saved.Name, s.DataDir, saved.Nodes)
	}
	return config.Resume(flags, saved)
}

// refuseSameName refuses a cluster of the same name as one with other data that has containers on this host: names of control
// groups have no place for a second.
func refuseSameName(s config.Settings) error {
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

// runsAlready looks whether there is a main process. That is an error, unless nothing would start it again: then this is
// mended, and all is done.
func runsAlready(ctx context.Context, inst instance.Instance, out io.Writer) (done bool, err error) {
	pid, running := inst.Running()
	if !running {
		return false, nil
	}
	if _, kept := inst.Keeper(); kept || inst.Foreground(pid) {
		return false, &instance.RunningError{Dir: inst.Dir, PID: pid}
	}
	if err := adopt(ctx, inst, pid); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "The cluster was running as process %d; now it is started again, too, should it end.\n", pid)
	return true, nil
}

// begin gives this process alone the right to start the cluster. A keeper that waits for its next try has waited enough.
func begin(ctx context.Context, inst instance.Instance, out io.Writer) (lock io.Closer, done bool, err error) {
	lock, err = inst.Starting()
	if err != nil {
		return nil, false, err
	}
	if _, running := inst.Running(); !running {
		err = end(ctx, inst, keeper.LockFile, inst.Keeper)
	}
	if err == nil {
		done, err = runsAlready(ctx, inst, out)
	}
	if done || err != nil {
		lock.Close()
	}
	return lock, done, err
}

// spawn starts the cluster's own processes and follows the reports of the main one until it is ready.
// Once they are there, others see what they occupy: then begun is called.
func spawn(ctx context.Context, inst instance.Instance, pprof string, out io.Writer, begun func()) error {
	reports, childEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	cmd, err := startKeeper(inst, 0, childEnd, pprof)
	childEnd.Close()
	if err != nil {
		return err
	}
	begun()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("start: not done after %s", startTimeout))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { reports.Close() })
	defer stop()
	last := "nothing"
	err = follow(reports, func(r report) {
		r.print(out)
		last = r.Stage
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w; the last stage that was reached: %s", cause, last)
	}
	if errors.Is(err, errEnded) {
		err = fmt.Errorf("start: the cluster's process: %w", err)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return errors.Join(err, stopProcess(context.WithoutCancel(ctx), inst))
	}
	return cmd.Process.Release()
}

// logTail is the end of a log that is about to be removed.
func logTail(path string) string {
	text, _ := os.ReadFile(path) // an error has been told already
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-5):]
	if lines[0] == "" {
		return ""
	}
	return "\nits log ended:\n  " + strings.Join(lines, "\n  ")
}

// mergeKubeconfig adds the cluster's context to the invoking user's kubeconfig, and says so where that took another's place.
func mergeKubeconfig(inst instance.Instance, out io.Writer) error {
	who, err := kubeconfig.Invoker()
	if err != nil {
		return err
	}
	entry, err := kubeconfig.Read(inst.Path("admin.kubeconfig"))
	if err != nil {
		return err
	}
	previous, err := who.Add(inst.Path("kubeconfig-merge.json"), entry)
	if err == nil && previous != "" {
		fmt.Fprintf(out, "  kubectl's current context is now %q; back to the one before: kubectl config use-context %s\n", entry.Name, previous)
	}
	return err
}
