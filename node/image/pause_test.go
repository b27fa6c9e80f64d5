package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/bake/trial"
)

func TestPauseProgramIsAnExecutable(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		program, err := pauseProgram(arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		p := f.Progs[0]
		if f.Machine != machine || f.Entry != codeAddress || len(f.Progs) != 1 || p.Filesz != uint64(len(program)) || p.Memsz != p.Filesz {
			t.Errorf("%s: header is %+v %+v", arch, f.FileHeader, p.ProgHeader)
		}
		if len(program) > 400 {
			t.Errorf("%s: %d bytes", arch, len(program))
		}
	}
	if _, err := PauseFor("s390x"); err == nil {
		t.Error("an architecture without a program was accepted")
	}
}

// startPause runs the program as the first process of a pid namespace.
func startPause(t *testing.T) *exec.Cmd {
	t.Helper()
	program, err := pauseProgram("amd64")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the pause program in a new pid namespace (root is needed): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	wait(t, "the program waits", func() bool { return waiting(cmd.Process.Pid) })
	return cmd
}

func status(pid int, field string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// waiting tells whether the process sleeps with SIGCHLD ignored: then it has
// made its preparations and sits in its last system call.
func waiting(pid int) bool {
	ignored, _ := strconv.ParseUint(status(pid, "SigIgn"), 16, 64)
	return ignored&(1<<(sigChild-1)) != 0 && strings.HasPrefix(status(pid, "State"), "S")
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestPauseEndsOnSIGTERM(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := startPause(t)
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT, sig} {
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v it ended with %v, want exit code 0", sig, err)
		}
	}
}

func TestPauseReapsOrphans(t *testing.T) {
	cmd := startPause(t)
	pid := strconv.Itoa(cmd.Process.Pid)
	// the inner shell ends at once, so the pause program inherits its child
	out, err := exec.Command("nsenter", "--pid", "--target", pid, "sh", "-c", "(sleep 0.2 >/dev/null 2>&1 &)").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	children := func() string {
		data, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		return strings.TrimSpace(string(data))
	}
	wait(t, "the orphan is adopted", func() bool { return children() != "" })
	wait(t, "the orphan is gone and no zombie stays", func() bool { return children() == "" })
	if status(cmd.Process.Pid, "State") == "" {
		t.Error("the pause program ended")
	}
}

func TestPauseRunsInContainerd(t *testing.T) {
	archive, err := Pause()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pause.tar")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	c := trial.Start(t)
	if refs := c.Import(t, path); !slices.Contains(refs, PauseRef) {
		t.Fatalf("images are %v", refs)
	}
	pid := c.Run(t, PauseRef, "pause")
	if uid := status(pid, "Uid"); uid != "65535\t65535\t65535\t65535" {
		t.Errorf("it runs as uid %q", uid)
	}
	wait(t, "the program waits", func() bool { return waiting(pid) })
	if out := c.Stop(t, "pause"); out != "" {
		t.Errorf("it ended with %q, want exit code 0", out)
	}
}
