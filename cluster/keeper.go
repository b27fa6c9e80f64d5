package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/internal/keeper"
)

// startKeeper starts what starts the main process, and starts it again when it has died; with a main process that is
// there already it waits for that one's end. The keeper outlives this process: it has a session of its own and logs
// to DIR/server.log. Its environment is what a main process has, and what keeps it small.
func startKeeper(inst instance.Instance, found int, reports *os.File, pprof string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(inst.Path("server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(self, keeper.Command, inst.Dir, strconv.Itoa(found))
	if pprof != "" {
		cmd.Args = append(cmd.Args, "--pprof", pprof)
	}
	cmd.Env = []string{"PATH=" + keeper.Path, "GOGC=off", "GOMEMLIMIT=6MiB", "GOMAXPROCS=1", "GODEBUG=disablethp=1"}
	cmd.Stdout, cmd.Stderr = log, log
	if reports != nil {
		cmd.ExtraFiles = []*os.File{reports}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return cmd, nil
}

// adopt gives a main process that runs without a keeper one again.
func adopt(ctx context.Context, inst instance.Instance, pid int) error {
	cmd, err := startKeeper(inst, pid, nil, "")
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, alive := inst.Keeper(); alive {
			return cmd.Process.Release()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the keeper of process %d does not start: %w", pid, context.Cause(ctx))
}

// stopProcess ends the cluster's own processes: first what would start the main one again, then that. Both hold locks
// while they live. A main process that has only begun looks for its keeper when it has its lock, and ends without.
func stopProcess(ctx context.Context, inst instance.Instance) error {
	return errors.Join(end(ctx, inst, keeper.LockFile, inst.Keeper), end(ctx, inst, "lock", inst.Running))
}

// end asks the holder of a lock to end, and then makes it.
func end(ctx context.Context, inst instance.Instance, lock string, holder func() (pid int, alive bool)) error {
	pid, alive := holder()
	if !alive {
		return nil
	}
	if pid <= 1 {
		return fmt.Errorf("%s is locked by a process that did not write its number; find it with 'fuser %s'", inst.Dir, inst.Path(lock))
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
		if waitEnded(ctx, holder) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// stopTimeout is how long a process of a cluster may take to end by itself.
const stopTimeout = 10 * time.Second

func waitEnded(ctx context.Context, holder func() (pid int, alive bool)) bool {
	deadline := time.Now().Add(stopTimeout)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if _, alive := holder(); !alive {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
