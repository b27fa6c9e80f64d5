package cri

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestConfigKeepsEverythingBelowDir(t *testing.T) {
	r := &Runtime{Dir: "/data/c", CgroupRoot: "/fairlead/a"}
	text := configTOML(settings{paths: r.paths(), snapshotter: "native", cniBins: "/usr/lib/cni", restrictOOM: true})
	for _, want := range []string{
		`root = "/data/c/root"`, `state = "/data/c/state"`, `address = "/data/c/containerd.sock"`,
		`sandbox_image = "fairlead.dev/pause:1"`, `restrict_oom_score_adj = true`, `netns_mounts_under_state_dir = true`,
		`snapshotter = "native"`, `conf_dir = "/data/c/cni"`, `SystemdCgroup = false`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("config lacks %s:\n%s", want, text)
		}
	}
}

func TestHierarchies(t *testing.T) {
	const table = `30 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:29 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
33 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
33 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	got := hierarchies(table)
	want := []hierarchy{{"/sys/fs/cgroup/cpu", false}, {"/sys/fs/cgroup/pids", false}, {"/sys/fs/cgroup/unified", true}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if home := homeHierarchy(got); home != want[1] {
		t.Errorf("hybrid: home is %v, want the pids tree", home)
	}
	if home := homeHierarchy(want[2:]); !home.v2 {
		t.Errorf("pure v2: home is %v", home)
	}
}

func TestHasMount(t *testing.T) {
	const table = "33 30 0:30 / /run/containerd rw - ext4 /dev/vda rw\n34 30 0:30 / /run/containerd2 rw - ext4 /dev/vda rw\n"
	if !hasMount(table, "/run/containerd") || hasMount(table, "/run") {
		t.Error("a mount is matched by its whole path")
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tnginx\nUmask:\t0022\nPid:\t42\nPPid:\t7\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004a06\n"
	if got := parseStatus(text); got != (processStatus{"nginx", 7, 0x4a06}) {
		t.Errorf("%+v", got)
	}
}

func TestConflist(t *testing.T) {
	text, err := cniConflist([]netip.Prefix{netip.MustParsePrefix("10.244.3.7/24"), netip.MustParsePrefix("fd00:10:244:3::7/64")}, 1450, "/data/cni")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Plugins []struct {
			Type   string
			Sysctl map[string]string
			IPMasq bool
			MTU    int
			IPAM   struct {
				Type, DataDir string
				Ranges        [][]struct{ Subnet string }
				Routes        []struct{ Dst string }
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if first := got.Plugins[0]; first.Type != "tuning" || first.Sysctl["net.ipv6.conf.default.accept_dad"] != "0" {
		t.Errorf("with IPv6 the first plugin must set sysctls, got %s", text)
	}
	p := got.Plugins[1]
	if p.Type != "ptp" || p.IPMasq || p.MTU != 1450 || p.IPAM.DataDir != "/data/cni" ||
		p.IPAM.Ranges[0][0].Subnet != "10.244.3.0/24" || p.IPAM.Routes[0].Dst != "0.0.0.0/0" ||
		p.IPAM.Ranges[1][0].Subnet != "fd00:10:244:3::/64" || p.IPAM.Routes[1].Dst != "::/0" {
		t.Errorf("got %s", text)
	}
	if text, err = cniConflist([]netip.Prefix{netip.MustParsePrefix("10.244.3.0/24")}, 0, ""); err != nil || strings.Contains(string(text), "tuning") {
		t.Errorf("IPv4 alone: %v, %s", err, text)
	}
	for _, none := range [][]netip.Prefix{nil, {{}}} {
		if _, err := cniConflist(none, 0, ""); err == nil {
			t.Error("no pod network: want an error")
		}
	}
}

func TestExitedContainer(t *testing.T) {
	exit := func(container, process string) *types.Envelope {
		text, err := proto.Marshal(&events.TaskExit{ContainerID: container, ID: process, Pid: 4711})
		if err != nil {
			t.Fatal(err)
		}
		return &types.Envelope{Topic: "/tasks/exit", Event: &anypb.Any{TypeUrl: "containerd.events.TaskExit", Value: text}}
	}
	if got := exitedContainer(exit("abc", "abc")); got != "abc" {
		t.Errorf("got %q", got)
	}
	if got := exitedContainer(exit("abc", "probe")); got != "" {
		t.Errorf("the end of an exec is reported as the end of its container: %q", got)
	}
	for _, garbage := range []*types.Envelope{nil, {}, {Event: &anypb.Any{Value: []byte{0xff, 1}}}} {
		if got := exitedContainer(garbage); got != "" {
			t.Errorf("garbage gives %q", got)
		}
	}
}

func TestDaemonEnv(t *testing.T) {
	got := daemonEnv([]string{"NOTIFY_SOCKET=/x", "PATH=/bin", "https_proxy=http://shell:1", "A=b"}, nil)
	if len(got) != 2 || !strings.HasPrefix(got[0], "PATH=/bin:") || !strings.Contains(got[0], "/usr/sbin") {
		t.Errorf("got %q", got)
	}
}

func TestSocketPathLimit(t *testing.T) {
	r := &Runtime{Dir: "/" + strings.Repeat("d", 90), CgroupRoot: "/x"}
	if err := r.check(r.paths()); err == nil || !strings.Contains(err.Error(), "choose a shorter data directory") {
		t.Errorf("got %v", err)
	}
	r = &Runtime{Dir: "/d", CgroupRoot: "/"}
	if err := r.check(r.paths()); err == nil {
		t.Error("the root cgroup as CgroupRoot: want an error")
	}
}
