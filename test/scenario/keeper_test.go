package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// TestMainProcessIsStartedAgain kills the main process and its keeper in every order: one that lives is enough for `up`,
// `status` and `down` to do what they say.
func TestMainProcessIsStartedAgain(t *testing.T) {
	before := trace(t)
	c := newCluster(t)
	c.up()
	first, keeper := c.pid(), c.keeper()
	kill(t, first)
	c.back()
	if c.pid() == first || c.keeper() != keeper {
		t.Errorf("main process %d, then %d; keeper %d, then %d", first, c.pid(), keeper, c.keeper())
	}
	c.status(0, "started again once", "killed by signal 9")

	second := c.pid()
	kill(t, keeper)
	c.status(1, "keeper", "missing", "'fairlead up' mends that")
	c.up()
	if c.pid() != second || c.keeper() == keeper {
		t.Errorf("up gave process %d in place of %d, keeper %d in place of %d", c.pid(), second, c.keeper(), keeper)
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir), "already running")
	c.status(0)
	kill(t, second)
	c.back()

	syscall.Kill(c.keeper(), syscall.SIGKILL)
	kill(t, c.pid())
	c.status(1, "stopped")
	c.up()
	kill(t, c.pid())
	c.up0("") // while the keeper waits, or the main process starts, or runs already
	c.back()

	kill(t, c.keeper())
	c.down()
	unchanged(t, before)
}

// up0 starts the cluster, or is told that it runs.
func (c *cluster) up0(flags ...string) {
	c.t.Helper()
	if r := c.fairlead("up", "--data-dir", c.dir); r.code != 0 && !strings.Contains(r.err, "already running") {
		c.t.Errorf("up: %v", r)
	}
}

// status checks what `status` says, and that it ends with a code.
func (c *cluster) status(code int, says ...string) {
	c.t.Helper()
	r := c.fairlead("status", "--data-dir", c.dir)
	if r.code != code {
		c.t.Errorf("status ends with %d: %v", r.code, r)
	}
	for _, want := range says {
		if !strings.Contains(r.out, want) {
			c.t.Errorf("status does not say %q:\n%s", want, r.out)
		}
	}
}

// TestTwoUps: of two that start one cluster at once, one does, and the other says so and touches nothing.
func TestTwoUps(t *testing.T) {
	before := trace(t)
	c := newCluster(t)
	results := make(chan result, 2)
	for range 2 {
		go func() { results <- c.fairlead("up", "--data-dir", c.dir) }()
	}
	a, b := <-results, <-results
	if a.code+b.code != 1 {
		t.Errorf("first %v\nsecond %v", a, b)
	}
	c.status(0)
	c.down()
	unchanged(t, before)
}

// TestKeeperIsSmall measures what the keeper costs: the memory that it has for itself. Its pages of the program's file are
// the same as the main process's, and how many a kernel maps at a time is the kernel's choice.
func TestKeeperIsSmall(t *testing.T) {
	c := newCluster(t)
	c.up()
	kill(t, c.pid())
	c.back()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.keeper()))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(text)
	if len(found) != 2 {
		t.Fatalf("%s", text)
	}
	if kB, _ := strconv.Atoi(string(found[1])); kB == 0 || kB > 4<<10 {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", c.keeper()))
		t.Errorf("the keeper has %d kB for itself:\n%s", kB, rollup)
	}
}

// TestNothingIsInherited starts a cluster from a shell in a bad state, and looks at what its processes have of it.
func TestNothingIsInherited(t *testing.T) {
	c := newCluster(t)
	gone := t.TempDir()
	held := filepath.Join(t.TempDir(), "held")
	// A directory that is deleted, files that are open and closed, signals that are ignored, limits, a mask, a priority.
	shell := exec.Command("/bin/sh", "-c", fmt.Sprintf(`cd %s && rmdir %s; trap "" HUP INT TSTP; umask 077
exec 9>%s <&-; ulimit -Sn 256; ulimit -Sf 100000; ulimit -Ss 1024; exec nice -n 5 %s up --data-dir %s`, gone, gone, held, binary(t), c.dir))
	shell.Env = append(os.Environ(), "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "ALL_PROXY=socks5://127.0.0.1:1",
		"http_proxy=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1", "all_proxy=socks5://127.0.0.1:1", "NO_PROXY=", "no_proxy=",
		"NOTIFY_SOCKET=/nonexistent", "TMPDIR=/nonexistent", "TZ=Nowhere/At_All", "LANG=xx_XX", "GOGC=1", "GOMAXPROCS=1",
		"GODEBUG=http2client=0", "LD_PRELOAD=/nonexistent.so", "PATH=/bin:/usr/bin", "HOME="+c.home, "KUBECONFIG=")
	heedAgain := ignore(t, 32) // as programs of a C library do, and no shell can
	text, err := shell.CombinedOutput()
	heedAgain()
	if err != nil {
		t.Fatalf("up: %v\n%s", err, text)
	}
	kill(t, c.pid())
	c.back()
	for what, pid := range map[string]int{"main process": c.pid(), "keeper": c.keeper(), "containerd": c.containerd()} {
		proc := fmt.Sprintf("/proc/%d/", pid)
		env, err := os.ReadFile(proc + "environ")
		if err != nil {
			t.Fatal(err)
		}
		if what == "containerd" { // pulls go by the proxies that up was given, and by no other
			env = regexp.MustCompile(`(HTTPS?_PROXY=http://127\.0\.0\.1:1|NO_PROXY=localhost,[^\x00]*)\x00`).ReplaceAll(env, nil)
		}
		if lower := strings.ToLower(string(env)); strings.Contains(lower, "proxy") || strings.Contains(lower, "nowhere") || strings.Contains(lower, "nonexistent") {
			t.Errorf("%s: environment %q", what, env)
		}
		state, _ := os.ReadFile(proc + "status")
		if ignored := regexp.MustCompile(`SigIgn:\s+(\w+)`).FindSubmatch(state); ignored == nil || strings.Trim(string(ignored[1]), "0") != "" && what != "containerd" {
			t.Errorf("%s: ignored signals %s", what, ignored)
		}
		if !strings.Contains(string(state), "Umask:\t0022") {
			t.Errorf("%s: umask in\n%s", what, state)
		}
		if nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid); err != nil || nice != 20 {
			t.Errorf("%s: priority %d, %v", what, 20-nice, err)
		}
		if dir, _ := os.Readlink(proc + "cwd"); dir != "/" && what != "containerd" {
			t.Errorf("%s: directory %s", what, dir)
		}
		files, _ := filepath.Glob(proc + "fd/*")
		for _, f := range files {
			if to, _ := os.Readlink(f); to == held {
				t.Errorf("%s holds %s", what, held)
			}
		}
	}
}

// ignore lets this process and those it starts ignore a signal, until the returned function is called.
func ignore(t *testing.T, sig uintptr) (heed func()) {
	t.Helper()
	set := func(handler uint64) {
		action := [4]uint64{handler} // struct sigaction
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(1) // SIG_IGN
	return func() { set(0) }
}
