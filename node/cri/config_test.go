package cri

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestContainerdIsTheOneMeant: the tests run with the containerd that FAIRLEAD_TEST_CONTAINERD says, a major version, if it says one.
func TestContainerdIsTheOneMeant(t *testing.T) {
	ctx, r := start(t)
	v, err := runtimes(t, r).Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s", v.RuntimeName, v.RuntimeVersion)
	major, _, _ := strings.Cut(strings.TrimPrefix(v.RuntimeVersion, "v"), ".")
	want := os.Getenv("FAIRLEAD_TEST_CONTAINERD")
	if v.RuntimeName != "containerd" || want != "" && major != want || major != "1" && major != "2" {
		t.Errorf("%s %s runs, want containerd %s", v.RuntimeName, v.RuntimeVersion, cmp.Or(want, "1 or 2"))
	}
}

// TestConfigIsUnderstood asks the containerd that is installed what it makes of the configuration. 1.6 and 2.x have the same keys in
// other tables and other quotes.
func TestConfigIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	r := &Runtime{Dir: "/data/c", CgroupRoot: "/fairlead/a"}
	file := filepath.Join(dir, "config.toml")
	text := configTOML(settings{paths: r.paths(), snapshotter: "native", cniBins: "/usr/lib/cni", restrictOOM: true})
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("containerd", configFlag, file, "config", "dump").Output()
	if err != nil {
		t.Fatal(err)
	}
	dump := strings.ReplaceAll(string(out), "'", `"`)
	for _, want := range []string{
		`root = "/data/c/root"`, `state = "/data/c/state"`, `address = "/data/c/containerd.sock"`, `level = "warn"`,
		`(sandbox_image|sandbox) = "fairlead.dev/pause:1"`, `restrict_oom_score_adj = true`, `netns_mounts_under_state_dir = true`,
		`disable_tcp_service = true`, `stream_server_address = "127.0.0.1"`, `stream_server_port = "0"`, `stats_collect_period = 3600`,
		`enable_unprivileged_ports = true`, `enable_unprivileged_icmp = true`, `snapshotter = "native"`, `default_runtime_name = "runc"`,
		`runtime_type = "io.containerd.runc.v2"`, `SystemdCgroup = false`, `(bin_dir = "/usr/lib/cni"|bin_dirs = \["/usr/lib/cni"\])`,
		`conf_dir = "/data/c/cni"`, `max_conf_num = 1`, `config_path = "/data/c/certs.d"`,
	} {
		if !regexp.MustCompile(`(?m)^\s*` + want + `$`).MatchString(dump) {
			t.Errorf("containerd does not have %s:\n%s", want, dump)
		}
	}
	for _, id := range unusedPlugins {
		if !strings.Contains(dump, `"`+id+`"`) {
			t.Errorf("containerd does not disable %s", id)
		}
	}
}
