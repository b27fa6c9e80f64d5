package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func find(t *testing.T, findings []Finding, name string) Finding {
	t.Helper()
	for _, f := range findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %q in %+v", name, findings)
	return Finding{}
}

func TestThisHostCanRunACluster(t *testing.T) {
	dir := t.TempDir()
	before := listing(t, dir)
	findings := Check(t.Context(), Requirements{Dir: filepath.Join(dir, "not", "yet"), Ranges: []Range{
		{Name: "pods", Prefix: netip.MustParsePrefix("198.18.0.0/16"), Flag: "--pod-cidr"}}})
	for _, f := range findings {
		t.Logf("%-22s %s %s", f.Name, f.Level, f.Message)
		if !f.OK || f.Message == "" {
			t.Errorf("%s: %s", f.Name, f.Message)
		}
	}
	for _, name := range []string{"root", "kernel", "namespaces", "nf_tables", "veth", "bridge", "overlayfs", "cgroups",
		"containerd", "containerd-shim-runc-v2", "runc", "nft", "CNI plugins", "addresses of pods", "disk", "inotify"} {
		find(t, findings, name)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the check left %s, was %s", after, before)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	return fmt.Sprint(entries)
}

func TestProbesFindWhatIsMissing(t *testing.T) {
	enterNetns(t)
	unknown, err := unknownExpressions("masq", "wishful", "nat", "hopeful", "numgen")
	if got := strings.Join(unknown, " "); got != "wishful hopeful" || err != nil {
		t.Errorf("unknown are %q, %v", got, err)
	}
	if found, err := hasTable(unix.NFPROTO_IPV4, probeTable); found || err != nil {
		t.Errorf("the probe left its table: %v, %v", found, err)
	}
}

func TestPortHolder(t *testing.T) {
	enterNetns(t)
	must(t, exec.Command("ip", "link", "set", "lo", "up").Run())
	tcp, err := net.Listen("tcp4", "127.0.0.1:6443")
	must(t, err)
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", "[::]:53")
	must(t, err)
	defer func() { _ = udp.Close() }()
	for _, c := range []struct {
		network, addr string
		taken         bool
	}{
		{"tcp", "127.0.0.1:6443", true},
		{"tcp", "0.0.0.0:6443", true},
		{"tcp", "127.0.0.2:6443", false},
		{"tcp", "127.0.0.1:6444", false},
		{"udp", "127.0.0.1:6443", false},
		{"udp", "10.96.0.10:53", true},
		{"udp", "[::1]:53", true},
	} {
		pid, name, taken := PortHolder(c.network, netip.MustParseAddrPort(c.addr))
		if taken != c.taken || taken && (pid != os.Getpid() || name != "host.test") {
			t.Errorf("%s %s: pid %d name %q taken %v, want %v", c.network, c.addr, pid, name, taken, c.taken)
		}
	}
	port := Port{Network: "tcp", Addr: netip.MustParseAddrPort("0.0.0.0:6443"), For: "API server", Flag: "--port"}
	f := checkPorts(t.Context(), Requirements{Ports: []Port{port}})[0]
	want := fmt.Sprintf("the API server cannot listen on 0.0.0.0:6443, which process %d (host.test) holds: stop that, or choose another port with --port", os.Getpid())
	if f.OK || f.Name != "port 6443/tcp" || f.Message != want {
		t.Errorf("finding is %+v\nwant %s", f, want)
	}
	port.For, port.Flag, port.Spare = "L7 engine (Ingress)", "--ingress-ports", true
	here := port
	here.Addr = netip.MustParseAddrPort("127.0.0.1:6443")
	own := Requirements{Ports: []Port{here}, Running: Running{Name: "mine", PID: os.Getpid()}}
	if f, want := checkPorts(t.Context(), own)[0], fmt.Sprintf("in use by this cluster mine, for the %s on 127.0.0.1", port.For); f.Level != Pass || f.Message != want {
		t.Errorf("beside its own cluster: %+v, want %s", f, want)
	}
	if f := checkPorts(t.Context(), Requirements{Ports: []Port{port}})[0]; f.Level != Warn || !strings.Contains(f.Message, "(host.test) holds; the rest works: stop that") {
		t.Errorf("of a port that can be spared: %+v", f)
	}
}

func TestRangesAgainstRoutes(t *testing.T) {
	req := Requirements{OwnLinks: []string{"fairlead0"}, Ranges: []Range{
		{Name: "pods", Prefix: netip.MustParsePrefix("10.244.0.0/16"), Flag: "--pod-cidr"},
		{Name: "Services", Prefix: netip.MustParsePrefix("10.96.0.0/12"), Flag: "--service-cidr"},
	}}
	p := netip.MustParsePrefix
	for _, c := range []struct {
		name           string
		routes         []hostRoute
		pods, services Level
	}{
		{"nothing", nil, Pass, Pass},
		{"a default route", []hostRoute{{p("0.0.0.0/0"), "eth0"}}, Pass, Pass},
		{"our own", []hostRoute{{p("10.96.0.0/12"), "fairlead0"}}, Pass, Pass},
		{"another cluster's pods", []hostRoute{{p("10.244.3.0/24"), "cni0"}}, Fail, Pass},
		{"a blackhole", []hostRoute{{p("10.100.0.0/16"), ""}}, Pass, Fail},
		{"a wide private network", []hostRoute{{p("10.0.0.0/8"), "tun0"}}, Warn, Warn},
		{"wide, then inside", []hostRoute{{p("10.0.0.0/8"), "tun0"}, {p("10.244.0.0/16"), "cni0"}, {p("10.0.0.0/9"), "x"}}, Fail, Warn},
		{"IPv6", []hostRoute{{p("fd00::/8"), "eth0"}}, Pass, Pass},
	} {
		found := judgeRanges(req, c.routes)
		if found[0].Level != c.pods || found[1].Level != c.services {
			t.Errorf("%s: %+v", c.name, found)
		}
	}
	req.Ranges[1].Prefix = p("10.240.0.0/12")
	if f := judgeRanges(req, nil)[1]; f.OK || !strings.Contains(f.Message, "--service-cidr or --pod-cidr") {
		t.Errorf("two ranges that overlap: %+v", f)
	}
}

func TestRoutesOfTheHostAreSeen(t *testing.T) {
	enterNetns(t)
	must(t, addBridge("br7"))
	must(t, exec.Command("ip", "link", "set", "br7", "up").Run())
	must(t, exec.Command("ip", "route", "add", "10.244.1.0/24", "dev", "br7").Run())
	must(t, exec.Command("ip", "route", "add", "blackhole", "10.97.0.0/16", "table", "100").Run())
	found := checkRanges(t.Context(), Requirements{Ranges: []Range{
		{Name: "pods", Prefix: netip.MustParsePrefix("10.244.0.0/16"), Flag: "--pod-cidr"},
		{Name: "Services", Prefix: netip.MustParsePrefix("10.96.0.0/12"), Flag: "--service-cidr"},
	}})
	want := "the route to 10.244.1.0/24, which leads to br7, takes addresses of 10.244.0.0/16: choose another range with --pod-cidr, or remove the route"
	if found[0].Message != want || found[1].OK {
		t.Errorf("findings are %+v\nwant first %s", found, want)
	}
}

func TestJudgements(t *testing.T) {
	containerd := tools[0]
	for _, c := range []struct {
		what  string
		got   Finding
		level Level
		part  string
	}{
		{"a new kernel", judgeKernel("6.18.44-fc"), Pass, "Linux 6.18.44-fc"},
		{"an old kernel", judgeKernel("5.10.0-28-amd64"), Fail, "boot 5.13 or newer"},
		{"an odd kernel", judgeKernel("unknown"), Warn, "cannot be read"},
		{"Debian's containerd", containerd.judge("/usr/bin/containerd", "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1"), Pass, "/usr/bin/containerd 1.6.20~ds1 (Debian package containerd)"},
		{"containerd's own", containerd.judge("/x", "containerd github.com/containerd/containerd/v2 v2.1.0 abc"), Pass, "2.1.0"},
		{"a containerd of the future", containerd.judge("/x", "containerd github.com/containerd/containerd/v3 v3.0.1 abc"), Warn, "known to work are 1.6 to 2.x"},
		{"an old containerd", containerd.judge("/x", "containerd github.com/containerd/containerd 1.4.13"), Fail, "must be 1.6 or newer"},
		{"a mute containerd", containerd.judge("/x", "hello"), Warn, "does not tell"},
		{"a tool that lacks", tool{command: "no-such-tool", pkg: "some-package"}.check(t.Context()), Fail, "apt-get install some-package"},
		{"an optional one", tool{command: "no-such-tool", pkg: "p", optional: "fine"}.check(t.Context()), Warn, "fine"},
		{"a broken one", tool{command: "false", flag: "--version", pkg: "coreutils"}.check(t.Context()), Fail, "does not run"},
		{"no plugins", findPlugins([]string{t.TempDir()}, false), Fail, "containernetworking-plugins"},
		{"no plugin for IPv6", findPlugins([]string{t.TempDir()}, true), Fail, "tuning"},
		{"IPv6", judgeIPv6("0", "0", nil), Pass, "may have"},
		{"a kernel without IPv6", judgeIPv6("", "", os.ErrNotExist), Fail, "ipv6.disable=1"},
		{"IPv6 switched off", judgeIPv6("0", "1", nil), Fail, "disable_ipv6=0"},
		{"a full disk", judgeDisk("/d", 1<<20, 1e6, 1e6), Fail, "make room"},
		{"no inodes", judgeDisk("/d", 1<<40, 3, 1e6), Fail, "only 3 more files"},
		{"a small disk", judgeDisk("/d", 1<<30, 1e6, 1e6), Warn, "1.0 GiB"},
	} {
		if c.got.Level != c.level || !strings.Contains(c.got.Message, c.part) || c.got.OK != (c.level != Fail) {
			t.Errorf("%s: %+v, want %s and %q", c.what, c.got, c.level, c.part)
		}
	}
}

func TestWithoutRootItSaysSo(t *testing.T) {
	if os.Getenv("FAIRLEAD_TEST_NOBODY") != "" {
		f := Check(t.Context(), Requirements{})
		if len(f) != 1 || f[0].OK || !strings.Contains(f[0].Message, "run it as root, with sudo") {
			t.Errorf("findings are %+v", f)
		}
		return
	}
	dir, err := os.MkdirTemp("", "flt-nobody-")
	must(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	must(t, os.Chmod(dir, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "host.test")
	must(t, os.WriteFile(program, self, 0o755))
	cmd := exec.Command("setpriv", "--reuid=65534", "--clear-groups", program, "-test.run=^TestWithoutRootItSaysSo$")
	cmd.Env = append(os.Environ(), "FAIRLEAD_TEST_NOBODY=1")
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v: %s", err, out)
	}
}
