package cri

import (
	"fmt"
	"strings"

	"fairlead.dev/fairlead/node/image"
)

// PauseImage is the image every pod sandbox runs. It has to be imported before the first pod; it is never pulled.
const PauseImage = image.PauseRef

// settings is everything the text of config.toml depends on.
type settings struct {
	paths        paths
	snapshotter  string   // overlayfs, or native where overlay cannot be mounted
	cniBins      string   // the directory holding the CNI plugins
	restrictOOM  bool     // CAP_SYS_RESOURCE is missing, so oom_score_adj can only be raised
	otherPlugins []string // further plugin ids to disable
	environment  []string // the proxy that its process is given
}

// unusedPlugins are the parts of containerd a node never needs. Each would otherwise probe the host, hold memory, run programs that it
// finds there, or write outside of our directory (opt creates /opt/containerd, restart polls every 10 s). Ids unknown to a version
// are ignored by it.
var unusedPlugins = []string{
	"io.containerd.internal.v1.opt",
	"io.containerd.internal.v1.tracing",
	"io.containerd.tracing.processor.v1.otlp",
	"io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.zfs",
	"io.containerd.nri.v1.nri",
	// of 1.6 and 1.7 alone
	"io.containerd.internal.v1.restart",
	"io.containerd.monitor.v1.cgroups",
	"io.containerd.snapshotter.v1.aufs",
	// of 2.x alone
	"io.containerd.monitor.container.v1.restart",
	"io.containerd.monitor.task.v1.cgroups",
	"io.containerd.image-verifier.v1.bindir",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.differ.v1.erofs",
	"io.containerd.mount-handler.v1.erofs",
	"io.containerd.http.v1.pprof",
}

// configTOML renders containerd's configuration in format version 2, which is the one that 1.6, 1.7 and every 2.x read; a 2.x
// translates it when it starts (docs/containerd-2.0.md of containerd), in microseconds.
func configTOML(s settings) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# written by fairlead at every start of this node's containerd")
	for _, kv := range s.environment {
		line("# with %q in its environment", kv)
	}
	line("version = 2")
	line("root = %q", s.paths.root)
	line("state = %q", s.paths.state)
	line("oom_score = 0")
	line("disabled_plugins = [%s]", quoted(append(append([]string{}, unusedPlugins...), s.otherPlugins...)))
	line("[grpc]")
	line("  address = %q", s.paths.socket)
	line("[debug]")
	line("  level = \"warn\"")
	line("[plugins.\"io.containerd.grpc.v1.cri\"]")
	line("  sandbox_image = %q", PauseImage)
	line("  restrict_oom_score_adj = %v", s.restrictOOM)
	line("  netns_mounts_under_state_dir = true")
	line("  disable_tcp_service = true")
	line("  stream_server_address = \"127.0.0.1\"")
	line("  stream_server_port = \"0\"")
	line("  stats_collect_period = 3600")
	line("  enable_unprivileged_ports = true")
	line("  enable_unprivileged_icmp = true")
	line("  [plugins.\"io.containerd.grpc.v1.cri\".containerd]")
	line("    snapshotter = %q", s.snapshotter)
	line("    default_runtime_name = \"runc\"")
	line("    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]")
	line("      runtime_type = \"io.containerd.runc.v2\"")
	line("      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]")
	line("        SystemdCgroup = false")
	line("  [plugins.\"io.containerd.grpc.v1.cri\".cni]")
	line("    bin_dir = %q", s.cniBins)
	line("    conf_dir = %q", s.paths.cniConf)
	line("    max_conf_num = 1")
	line("  [plugins.\"io.containerd.grpc.v1.cri\".registry]")
	line("    config_path = %q", s.paths.hosts)
	return b.String()
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, ", ")
}
