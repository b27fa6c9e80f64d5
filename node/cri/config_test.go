package cri

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

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
		`conf_dir = "/data/c/cni"`, `max_conf_num = 1`,
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
