package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// oldest is the oldest kernel that has everything: nf_tables maps with
// concatenated keys and data, notrack, and pidfd_open.
var oldest = [2]int{5, 13}

// capabilities are those of root that are needed, with their numbers.
var capabilities = []struct {
	name string
	bit  uint
}{{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, {"CAP_NET_RAW", unix.CAP_NET_RAW}, {"CAP_SYS_CHROOT", unix.CAP_SYS_CHROOT}}

func checkPrivileges(context.Context, Requirements) []Finding {
	data, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return []Finding{fail("root", "/proc cannot be read: %v: mount it", err)}
	}
	var effective uint64
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, _ = strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	var missing []string
	for _, c := range capabilities {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return []Finding{fail("root", "root lacks %s here: in a container, start that with --privileged", strings.Join(missing, " and "))}
	}
	const forward = "/proc/sys/net/ipv4/ip_forward"
	if err := unix.Access(forward, unix.W_OK); err != nil {
		return []Finding{fail("root", "%s cannot be written: %v: in a container, start that with --privileged", forward, err)}
	}
	return []Finding{pass("root", "root, with the capabilities that are needed")}
}

func checkKernel(context.Context, Requirements) []Finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return []Finding{fail("kernel", "uname: %v", err)}
	}
	return []Finding{judgeKernel(unix.ByteSliceToString(u.Release[:]))}
}

func judgeKernel(release string) Finding {
	var v [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); err != nil {
		return warn("kernel", "Linux %s: a version that cannot be read; it should be %d.%d or newer", release, oldest[0], oldest[1])
	}
	if slices.Compare(v[:], oldest[:]) < 0 {
		return fail("kernel", "Linux %s is too old: boot %d.%d or newer", release, oldest[0], oldest[1])
	}
	return pass("kernel", "Linux %s", release)
}

// expressions are the nf_tables expressions that the service rules use, with
// the kernel option that brings each.
var expressions = []struct{ name, option string }{
	{"payload", "NF_TABLES"}, {"meta", "NF_TABLES"}, {"cmp", "NF_TABLES"}, {"lookup", "NF_TABLES"}, {"bitwise", "NF_TABLES"},
	{"immediate", "NF_TABLES"}, {"dynset", "NF_TABLES"}, {"ct", "NFT_CT"}, {"notrack", "NFT_CT"}, {"nat", "NFT_NAT"}, {"masq", "NFT_MASQ"},
	{"numgen", "NFT_NUMGEN"}, {"reject", "NFT_REJECT_IPV4"}, {"socket", "NFT_SOCKET"},
}

// checkProbes tries kernel features in a thread with a network and a mount
// namespace of its own, which end with it.
func checkProbes(_ context.Context, req Requirements) []Finding {
	result := make(chan []Finding)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespaces end here
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			result <- []Finding{fail("namespaces", "the kernel refuses new namespaces: %v: it needs NET_NS, and MNT_NS as root", err)}
			return
		}
		result <- append(append([]Finding{probeNamespaces(), probeNftables()}, probeLinks()...), probeOverlay(req.Dir))
	}()
	return <-result
}

func probeNamespaces() Finding {
	for _, ns := range []string{"net", "mnt", "pid", "ipc", "uts"} {
		if _, err := os.Stat("/proc/thread-self/ns/" + ns); err != nil {
			return fail("namespaces", "the kernel has no %s namespaces: boot one that does", ns)
		}
	}
	return pass("namespaces", "network, mount, pid, ipc and uts namespaces")
}

func probeNftables() Finding {
	const name = "nf_tables"
	if err := transact(unix.NFPROTO_IPV4, newTable(), newChain("nat")); err != nil {
		return fail(name, "a nat chain is refused: %v: the kernel needs NF_TABLES, NF_TABLES_IPV4 and NFT_NAT ('modprobe nf_tables nft_chain_nat')", err)
	}
	if err := deleteTable(unix.NFPROTO_IPV4, probeTable); err != nil {
		return fail(name, "a table cannot be removed: %v", err)
	}
	var names []string
	for _, e := range expressions {
		names = append(names, e.name)
	}
	unknown, err := unknownExpressions(names...)
	if err != nil {
		return fail(name, "%v", err)
	}
	var missing []string
	for _, e := range expressions {
		if slices.Contains(unknown, e.name) {
			missing = append(missing, e.name+" ("+e.option+")")
		}
	}
	if len(missing) > 0 {
		return fail(name, "the kernel lacks %s: load or build the modules", strings.Join(missing, ", "))
	}
	return pass(name, "chains and all %d expressions that the rules use", len(expressions))
}

func probeLinks() []Finding {
	var found []Finding
	for _, l := range []netlink.Link{
		&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}, PeerName: "probe1"},
		&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "probe2"}},
	} {
		if err := netlink.LinkAdd(l); err != nil {
			found = append(found, fail(l.Type(), "a %[1]s link cannot be made: %[2]v: load the kernel module with 'modprobe %[1]s'", l.Type(), err))
		} else {
			found = append(found, pass(l.Type(), "%s links", l.Type()))
		}
	}
	return found
}

// probeOverlay mounts an overlay whose layers lie where the cluster's will:
// not every file system can carry one.
func probeOverlay(dir string) Finding {
	const name = "overlayfs"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail(name, "mounts cannot be made private: %v", err)
	}
	base, err := os.MkdirTemp(existing(dir), ".fairlead-check-")
	if err != nil {
		return fail(name, "%s cannot be written: %v: choose another --data-dir", existing(dir), err)
	}
	defer func() { _ = os.RemoveAll(base) }()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o700); err != nil {
			return fail(name, "%v", err)
		}
	}
	merged := filepath.Join(base, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fail(name, "an overlay in %s cannot be mounted: %v: load the module with 'modprobe overlay', or choose a --data-dir on ext4 or xfs", existing(dir), err)
	}
	if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
		return fail(name, "%v", err)
	}
	return pass(name, "overlays in %s", existing(dir))
}

// existing is dir or the nearest directory above it that exists.
func existing(dir string) string {
	if dir == "" {
		return os.TempDir()
	}
	for dir != "/" && dir != "." {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// checkCgroups looks for the controllers that limit pods, in v1 and v2 trees.
func checkCgroups(context.Context, Requirements) []Finding {
	roots, err := hierarchies()
	if err == nil && len(roots) == 0 {
		err = errors.New("no cgroup tree is mounted: mount cgroup2 on /sys/fs/cgroup")
	}
	if err != nil {
		return []Finding{fail("cgroups", "%v", err)}
	}
	var have []string
	kind := "v1"
	for _, r := range roots {
		data, err := os.ReadFile(path.Join(r, "cgroup.controllers"))
		switch {
		case err == nil:
			have = append(have, strings.Fields(string(data))...)
			kind = "v2"
		case errors.Is(err, fs.ErrNotExist): // v1: the tree is named by its controllers
			have = append(have, strings.Split(path.Base(r), ",")...)
		}
	}
	if kind == "v2" && len(roots) > 1 {
		kind = "v1 and v2"
	}
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return []Finding{warn("cgroups", "%s, without the controllers %s: limits on them have no effect; enable them on the kernel's command line", kind, strings.Join(missing, ", "))}
	}
	return []Finding{pass("cgroups", "%s, with cpu, memory and pids", kind)}
}
