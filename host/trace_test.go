package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func trace(t *testing.T) []string {
	t.Helper()
	lines, err := Trace(t.Context())
	must(t, err)
	return lines
}

// TestTraceIsStable waits for two listings in a row that are the same: other
// programs may be at work on the machine, but not all the time.
func TestTraceIsStable(t *testing.T) {
	last := trace(t)
	if !slices.IsSorted(last) || len(last) < 100 {
		t.Fatalf("%d lines, sorted: %v", len(last), slices.IsSorted(last))
	}
	var diff []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		next := trace(t)
		if diff = Diff(last, next); len(diff) == 0 {
			return
		}
		last = next
	}
	t.Errorf("it never stays the same:\n%s", strings.Join(diff, "\n"))
}

func TestTraceSeesEachChange(t *testing.T) {
	enterNetns(t)
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for _, dir := range []string{"/run", "/etc"} { // this thread's own, to leave files in
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	}
	roots, err := hierarchies()
	must(t, err)
	group := roots[0] + "/flt-trace"
	before := trace(t)

	must(t, os.MkdirAll("/run/netns", 0o755))
	must(t, os.WriteFile("/etc/left", []byte("x"), 0o644))
	must(t, os.Mkdir(group, 0o755))
	defer func() { _ = os.Remove(group) }()
	for _, command := range []string{
		"ip netns add left-ns", "ip link add left-br type bridge", "ip addr add 10.9.9.9/24 dev left-br", "ip link set left-br up",
		"ip route add 10.8.0.0/16 dev left-br", "ip rule add from 10.7.0.1 lookup 77", "nft add table ip left-table",
		"nft add chain ip left-table c", "nft add rule ip left-table c ip daddr 10.6.6.6 counter drop",
	} {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	must(t, writeSysctl("net/ipv4/ip_forward", "1"))
	cmd := exec.Command("sleep", "987.5")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	text := strings.Join(Diff(before, trace(t)), "\n") + "\n"
	for _, want := range []string{
		"+ netns /run/netns/left-ns", "+ mount /run/netns/left-ns nsfs nsfs (a namespace) rw", "+ cgroup " + group,
		"+ file -rw-r--r-- /etc/left 2d711642b726b044", "+ link left-br: <BROADCAST,MULTICAST,UP>", "+ address left-br inet 10.9.9.9/24",
		"+ route 10.8.0.0/16 dev left-br", "+ rule 32765: from 10.7.0.1 lookup 77", "+ nft table ip left-table",
		"+ nft table ip left-table chain c ip daddr 10.6.6.6 counter drop",
		"+ sysctl net/ipv4/ip_forward = 1\n", "- sysctl net/ipv4/ip_forward = 0\n", "+ process sleep 987.5",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the difference does not say %q", want)
		}
	}
	if strings.Contains(text, "conf/left-br") {
		t.Error("the difference tells the settings of a new link one by one")
	}
	if t.Failed() {
		t.Logf("it says\n%s", text)
	}
}

func TestDiffCountsLines(t *testing.T) {
	got := Diff([]string{"a", "b", "b", "d"}, []string{"a", "a", "b", "c", "d"})
	if want := []string{"+ a", "- b", "+ c"}; !slices.Equal(got, want) {
		t.Errorf("difference is %q, want %q", got, want)
	}
	if got := Diff([]string{"x"}, []string{"x"}); len(got) != 0 {
		t.Errorf("nothing changed, but the difference is %q", got)
	}
}

func TestNftLinesStandForThemselves(t *testing.T) {
	ruleset := "table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1 timeout 1m expires 58s,\n\t\t\t     10.0.0.2 }\n\t}\n\tchain c {\n\t\tip saddr @s drop\n\t}\n}\n"
	want := []string{"nft table ip t", "nft table ip t set s", "nft table ip t set s type ipv4_addr",
		"nft table ip t set s elements = { 10.0.0.1 timeout 1m",
		"nft table ip t set s 10.0.0.2 }", "nft table ip t chain c", "nft table ip t chain c ip saddr @s drop"}
	if got := nftLines(ruleset); !slices.Equal(got, want) {
		t.Errorf("lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFilesAreComparedByContentWhereItMatters(t *testing.T) {
	runtime.LockOSThread()
	dir := t.TempDir()
	name := filepath.Join(dir, "config")
	list := func(content bool) string {
		lines, err := tree(t.Context(), dir, content)
		must(t, err)
		return strings.Join(lines, "\n")
	}
	must(t, os.WriteFile(name, []byte("one"), 0o644))
	with, without := list(true), list(false)
	must(t, os.WriteFile(name, []byte("two"), 0o644))
	if list(true) == with || list(false) != without {
		t.Errorf("after a change of content:\n%s\n%s", list(true), list(false))
	}
	must(t, os.Symlink("config", filepath.Join(dir, "link")))
	if !strings.Contains(list(false), "link -> config") {
		t.Errorf("no link in %s", list(false))
	}
}
