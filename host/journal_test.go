package host

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func undo(t *testing.T, j *Journal) []string {
	t.Helper()
	done, err := j.Undo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addBridge(name string) error {
	return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
}

func sysctl(t *testing.T, key string) string {
	t.Helper()
	value, err := readSysctl(key)
	must(t, err)
	return value
}

func TestSysctlIsRestoredWithWhatChangedAlong(t *testing.T) {
	enterNetns(t)
	must(t, addBridge("br1"))
	must(t, addBridge("br2"))
	must(t, writeSysctl("net/ipv4/conf/br1/forwarding", "1"))
	must(t, writeSysctl("net/ipv4/conf/all/accept_redirects", "0"))
	keys := []string{"net/ipv4/ip_forward", "net/ipv4/conf/br1/forwarding", "net/ipv4/conf/br2/forwarding",
		"net/ipv4/conf/default/forwarding", "net/ipv4/conf/all/accept_redirects", "net/ipv6/conf/all/forwarding"}
	before := map[string]string{}
	for _, k := range keys {
		before[k] = sysctl(t, k)
	}
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	must(t, j.Sysctl("net.ipv4.ip_forward", "1"))
	must(t, j.Sysctl("net/ipv6/conf/all/forwarding", "1"))
	if sysctl(t, "net/ipv4/ip_forward") != "1" || sysctl(t, "net/ipv4/conf/br2/forwarding") != "1" {
		t.Error("forwarding was not switched on")
	}
	done := undo(t, open(t, path))
	want := []string{"sysctl net/ipv6/conf/all/forwarding back to 0", "sysctl net/ipv4/ip_forward back to 0"}
	if !slices.Equal(done, want) {
		t.Errorf("undone %q, want %q", done, want)
	}
	for _, k := range keys {
		if now := sysctl(t, k); now != before[k] {
			t.Errorf("%s is %s, was %s", k, now, before[k])
		}
	}
}

func TestSysctlChangedAgainIsLeftAlone(t *testing.T) {
	enterNetns(t)
	const key = "net/ipv4/conf/all/rp_filter"
	must(t, writeSysctl(key, "0"))
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	must(t, j.Sysctl(key, "0")) // as it is: nothing to record
	if _, err := os.Stat(j.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a setting that was right was recorded: %v", err)
	}
	must(t, j.Sysctl(key, "1"))
	must(t, writeSysctl(key, "2")) // the administrator
	if done := undo(t, j); len(done) != 0 || sysctl(t, key) != "2" {
		t.Errorf("undone %q, the value is %s, want 2", done, sysctl(t, key))
	}
}

const crashEnv = "FAIRLEAD_TEST_CRASH"

// crash makes one change of each kind in the directory that the environment
// names, then dies by SIGKILL as a program can at any time.
func crash() {
	dir := os.Getenv(crashEnv)
	j, err := OpenJournal(filepath.Join(dir, "journal"))
	ok := func(err error) {
		if err != nil {
			println("crash:", err.Error())
			os.Exit(1)
		}
	}
	ok(err)
	ok(j.Sysctl("net/ipv4/ip_forward", "1"))
	ok(j.Dir(filepath.Join(dir, "a", "b"), 0o755))
	ok(j.File(filepath.Join(dir, "a", "b", "file"), []byte("x"), 0o644))
	tree := filepath.Join(dir, "tree")
	ok(j.Record("tree", tree))
	ok(os.MkdirAll(filepath.Join(tree, "deep", "down"), 0o755))
	mount := filepath.Join(tree, "mount")
	ok(os.Mkdir(mount, 0o755))
	ok(j.Record("mount", mount))
	ok(unix.Mount("tmpfs", mount, "tmpfs", 0, ""))
	ok(j.Link("fltest0", func() error { return addBridge("fltest0") }))
	ok(j.Address("fltest0", netip.MustParsePrefix("10.9.0.1/32")))
	link, err := netlink.LinkByName("fltest0")
	ok(err)
	ok(netlink.LinkSetUp(link))
	ok(j.Route("fltest0", netip.MustParsePrefix("10.10.0.0/16")))
	ok(j.Record("rule", "inet 777 99"))
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Family = 777, 99, unix.AF_INET
	ok(netlink.RuleAdd(rule))
	ok(j.Table("inet", probeTable))
	ok(transact(unix.NFPROTO_INET, newTable()))
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ok(cmd.Start())
	ok(j.Process(cmd.Process.Pid))
	ok(os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644))
	ns := filepath.Join(dir, "ns")
	ok(j.Record("netns", ns))
	ok(os.WriteFile(ns, nil, 0o644))
	ok(unix.Mount("/proc/thread-self/ns/net", ns, "", unix.MS_BIND, ""))
	ok(unix.Kill(os.Getpid(), unix.SIGKILL))
	select {}
}

func TestUndoAfterKill(t *testing.T) {
	enterNetns(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the crashing program ended with %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	must(t, err)
	if exists, _ := pidExists(string(pid)); !exists {
		t.Fatal("its process did not survive it: the test shows nothing")
	}

	done := undo(t, open(t, filepath.Join(dir, "journal")))
	var kinds []string
	for _, line := range done {
		kinds = append(kinds, strings.Fields(line)[0])
	}
	want := "netns process table rule route address link mount tree file dir dir sysctl"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("undone %s\nwant   %s", got, want)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "pid" {
		t.Errorf("left over: %v", entries)
	}
	if f, err := stat(string(pid)); err == nil && f[0] != "Z" {
		t.Errorf("process %s still runs", pid)
	}
	links, err := netlink.LinkList()
	must(t, err)
	if len(links) != 1 || sysctl(t, "net/ipv4/ip_forward") != "0" {
		t.Errorf("links %v, ip_forward %s", links, sysctl(t, "net/ipv4/ip_forward"))
	}
	if found, err := hasTable(unix.NFPROTO_INET, probeTable); found || err != nil {
		t.Errorf("the table is there: %v, %v", found, err)
	}
	if r, err := findRule("inet 777 99"); r != nil || err != nil {
		t.Errorf("the rule is there: %v, %v", r, err)
	}
	if done := undo(t, open(t, filepath.Join(dir, "journal"))); len(done) != 0 {
		t.Errorf("the second undo did %q", done)
	}
}

func TestNothingOfOthersIsTouched(t *testing.T) {
	enterNetns(t)
	dir := t.TempDir()
	must(t, addBridge("theirs"))
	file := filepath.Join(dir, "theirs")
	must(t, os.WriteFile(file, []byte("theirs"), 0o644))
	j := open(t, filepath.Join(dir, "journal"))
	if err := j.Link("theirs", func() error { t.Error("made a link that is there"); return nil }); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("taking over a link: %v", err)
	}
	if err := j.File(file, []byte("ours"), 0o644); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("taking over a file: %v", err)
	}
	must(t, j.Dir(dir, 0o755))
	must(t, j.Record("tree", dir))
	must(t, j.Table("inet", "none")) // never made
	if done := undo(t, j); len(done) != 0 {
		t.Errorf("undone %q", done)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "theirs" {
		t.Errorf("their file: %q, %v", data, err)
	}
	if exists, err := linkExists("theirs"); !exists || err != nil {
		t.Errorf("their link: %v, %v", exists, err)
	}
	for _, bad := range [][2]string{{"sysctl", "net/ipv4/ip_forward"}, {"wish", "x"}, {"file", "relative"}, {"cgroup", "/"}, {"process", "1; x"}, {"table", "ip"}, {"rule", "x"}} {
		if err := j.Record(bad[0], bad[1]); err == nil {
			t.Errorf("%s %q was recorded", bad[0], bad[1])
		}
	}
}

func TestAnotherNamespaceIsLeftAlone(t *testing.T) {
	enterNetns(t)
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	must(t, j.Link("same", func() error { return addBridge("same") }))
	must(t, j.Sysctl("net/ipv4/ip_forward", "1"))
	enterNetns(t)
	must(t, addBridge("same"))
	must(t, writeSysctl("net/ipv4/ip_forward", "1"))
	if done := undo(t, open(t, path)); len(done) != 0 {
		t.Errorf("undone in another network namespace: %q", done)
	}
	if exists, err := linkExists("same"); !exists || err != nil || sysctl(t, "net/ipv4/ip_forward") != "1" {
		t.Errorf("link %v %v, ip_forward %s", exists, err, sysctl(t, "net/ipv4/ip_forward"))
	}
}

func TestAfterARebootOnlyFilesAreUndone(t *testing.T) {
	enterNetns(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := open(t, path)
	must(t, j.File(filepath.Join(dir, "file"), nil, 0o644))
	must(t, j.Link("later", func() error { return addBridge("later") }))
	boot, err := bootID()
	must(t, err)
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, bytes.Replace(data, []byte(boot), []byte("another-boot"), 1), 0o600))
	j = open(t, path)
	must(t, j.Record("dir", filepath.Join(dir, "new"))) // of this boot
	must(t, os.Mkdir(filepath.Join(dir, "new"), 0o755))
	if done, want := undo(t, j), []string{"dir " + filepath.Join(dir, "new"), "file " + filepath.Join(dir, "file")}; !slices.Equal(done, want) {
		t.Errorf("undone %q, want %q", done, want)
	}
	if exists, err := linkExists("later"); !exists || err != nil {
		t.Error("a link of this boot was taken for one of the last")
	}
}

func TestARecycledProcessIDIsLeftAlone(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	must(t, j.Process(cmd.Process.Pid))
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, bytes.Replace(data, []byte(`"start":`), []byte(`"start":1`), 1), 0o600))
	if done := undo(t, open(t, path)); len(done) != 0 {
		t.Errorf("undone %q", done)
	}
	if f, err := stat(strconv.Itoa(cmd.Process.Pid)); err != nil || f[0] == "Z" {
		t.Errorf("the process was ended: %v", err)
	}
}

func TestCutAndDamagedLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := open(t, path)
	must(t, j.File(filepath.Join(dir, "one"), nil, 0o644))
	must(t, j.File(filepath.Join(dir, "two"), nil, 0o644))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"n":3,"kind":"file","na`)
	must(t, errors.Join(err, f.Close()))
	j = open(t, path)
	must(t, j.File(filepath.Join(dir, "three"), nil, 0o644)) // after the cut line, not into it
	if got := len(open(t, path).standing()); got != 3 {
		t.Errorf("%d changes are read, want 3", got)
	}

	data, err := os.ReadFile(path)
	must(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines[1] = []byte("\x00\x00\n")
	must(t, os.WriteFile(path, bytes.Join(lines, nil), 0o600))
	done, err := open(t, path).Undo(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lines [2]") || len(done) != 2 {
		t.Errorf("undone %q, %v, want two files and an error that names line 2", done, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the damaged journal is gone: %v", err)
	}
}

func TestUndoGoesOnAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	j := open(t, filepath.Join(dir, "journal"))
	must(t, j.File(filepath.Join(dir, "first"), nil, 0o644))
	full := filepath.Join(dir, "full")
	must(t, j.Dir(full, 0o755))
	must(t, os.WriteFile(filepath.Join(full, "users"), nil, 0o644))
	done, err := j.Undo(t.Context())
	if err == nil || !strings.Contains(err.Error(), "dir "+full+": it is not empty") || len(done) != 1 {
		t.Errorf("undone %q, %v", done, err)
	}
	must(t, os.Remove(filepath.Join(full, "users")))
	if done := undo(t, open(t, j.path)); !slices.Equal(done, []string{"dir " + full}) {
		t.Errorf("the second undo did %q", done)
	}
	if _, err := os.Stat(j.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
}

func TestTreeWithAMountInsideIsNotRemoved(t *testing.T) {
	runtime.LockOSThread() // the mount namespace is this thread's and ends with it
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	j := open(t, filepath.Join(dir, "journal"))
	must(t, j.Record("tree", tree))
	must(t, os.MkdirAll(filepath.Join(tree, "m"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(tree, "m"), "tmpfs", 0, ""))
	if _, err := j.Undo(t.Context()); err == nil || !strings.Contains(err.Error(), "still mounted") {
		t.Errorf("error is %v", err)
	}
	must(t, unix.Unmount(filepath.Join(tree, "m"), 0))
	undo(t, j)
}

func TestCgroupIsRemovedWithItsProcesses(t *testing.T) {
	name := "/flt-host-" + strconv.Itoa(os.Getpid())
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	must(t, j.Record("cgroup", name))
	roots, err := hierarchies()
	must(t, err)
	if len(roots) == 0 {
		t.Fatal("no cgroup hierarchy is mounted")
	}
	root := roots[len(roots)-1]
	must(t, os.MkdirAll(root+name+"/below", 0o755))
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	go func() { _ = cmd.Wait() }() // reap it, else it stays in the group
	must(t, os.WriteFile(root+name+"/below/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0o644))
	if done := undo(t, j); !slices.Equal(done, []string{"cgroup " + name}) {
		t.Errorf("undone %q", done)
	}
	if exists, err := cgroupExists(name); exists || err != nil {
		t.Errorf("the group is still there: %v", err)
	}
}
