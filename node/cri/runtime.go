// Package cri runs one private containerd per node: own root, state, socket, configuration, cgroup and mount namespace, so that
// nothing of it touches another containerd, Docker or CNI installation of the host, and so that it can be found, adopted and
// removed with certainty after any crash.
//
// Every process of a node (containerd, its shims, the containers) is a member of the cgroup [Runtime.CgroupRoot] or of one below
// it. Membership, not a recorded number or a name, decides what is ours.
package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/internal/durable"
)

// Runtime is the containerd of one node. The fields are set before first use and not changed afterwards.
type Runtime struct {
	// Dir holds everything of this containerd. Its path is limited to about 85 bytes, because of the socket inside it.
	Dir string
	// CgroupRoot is this node's group in every cgroup tree, for example /fairlead/node-1. Pods go below it.
	CgroupRoot string
	// Record, when set, is told what Start is about to create outside of Dir: kind "cgroup" and the group. Mount points that
	// the host lacks are not reported: several nodes may use one, so Clean removes it with the last of them.
	Record func(kind, path string) error

	mu    sync.Mutex
	conn  *grpc.ClientConn
	proxy []string
}

// SetProxy says by which variables containerd is told to pull through a proxy, each NAME=VALUE. It counts from the next Start on, which
// then begins a running containerd anew; its containers live on. It reports whether that is news.
func (r *Runtime) SetProxy(env []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := !slices.Equal(r.proxy, env)
	r.proxy = env
	return news
}

// HostsDir is where containerd looks, at every pull, for what is said of the image's registry (package registry).
func (r *Runtime) HostsDir() string { return r.paths().hosts }

// paths are the places below Dir.
type paths struct {
	config, log, lock, socket, root, state, shims, cniConf, cniData, cniCache, hosts string
}

func (r *Runtime) paths() paths {
	in := func(name string) string { return filepath.Join(r.Dir, name) }
	return paths{
		config: in("config.toml"), log: in("containerd.log"), lock: in("lock"), socket: in("containerd.sock"),
		root: in("root"), state: in("state"), shims: in("run-containerd"),
		cniConf: in("cni"), cniData: in("cni-data"), cniCache: in("cni-cache"), hosts: in("certs.d"),
	}
}

// overHost maps the host directories that are covered in containerd's mount namespace to our directories.
func (p paths) overHost() map[string]string {
	return map[string]string{hostShims: p.shims, hostCNICache: p.cniCache}
}

// configFlag names containerd's configuration file, by which a running one is known.
const configFlag = "--config"

// daemonGroup is the cgroup of containerd and its shims.
func (r *Runtime) daemonGroup() string { return filepath.Join(r.CgroupRoot, "containerd") }

// Start makes containerd answer: it adopts the running one of this node, or starts it, detached from the caller's session and
// lifetime, in the caller's network namespace. Shims and containers that survived an earlier containerd are kept.
func (r *Runtime) Start(ctx context.Context) error {
	p := r.paths()
	if err := r.check(p); err != nil {
		return err
	}
	for _, dir := range []string{r.Dir, p.cniConf, p.cniData, p.cniCache} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("containerd: %w", err)
		}
	}
	lock, err := os.OpenFile(p.lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("containerd: lock %s: %w", p.lock, err)
	}
	trees, err := mountedHierarchies()
	if err != nil {
		return err
	}
	pid := r.daemon(trees)
	text, err := r.configText(p, pid != 0)
	if err != nil {
		return err
	}
	if pid != 0 {
		was, _ := os.ReadFile(p.config)
		switch same := string(was) == text; {
		case same && r.answers(ctx, 3*time.Second) == nil:
			return nil
		case !same:
			terminate(pid, r.CgroupRoot, 5*time.Second)
		}
		signalAndWait([]int{pid}, r.CgroupRoot, unix.SIGKILL, 5*time.Second)
	}
	return r.launch(ctx, p, trees, text)
}

// configText is the configuration that containerd is to have. One that runs keeps its kind of snapshots, in which its containers are.
func (r *Runtime) configText(p paths, running bool) (string, error) {
	bins, err := cniBinDir()
	if err != nil {
		return "", err
	}
	s := settings{paths: p, snapshotter: "overlayfs", cniBins: bins, restrictOOM: !hasCapability(unix.CAP_SYS_RESOURCE), environment: r.environment()}
	if running {
		s.snapshotter = r.snapshotter()
	} else if !overlayWorks(r.Dir) {
		s.snapshotter = "native"
	}
	return configTOML(s), nil
}

func (r *Runtime) environment() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proxy
}

func (r *Runtime) check(p paths) error {
	if !filepath.IsAbs(r.Dir) || !strings.HasPrefix(r.CgroupRoot, "/") || r.CgroupRoot == "/" {
		return fmt.Errorf("containerd: directory %q and cgroup %q must be absolute paths", r.Dir, r.CgroupRoot)
	}
	const limit = 107 - len(".ttrpc") // sun_path, and the second socket containerd opens beside the first
	if len(p.socket) > limit {
		return fmt.Errorf("containerd: the socket path %s is longer than the %d bytes the kernel allows: choose a shorter data directory", p.socket, limit)
	}
	return nil
}

// daemon finds our running containerd: in our group, started with our configuration. It returns 0 when there is none.
func (r *Runtime) daemon(trees []hierarchy) int {
	for _, pid := range cgroupPIDs(trees, r.daemonGroup()) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && slices.Contains(strings.Split(string(text), "\x00"), r.paths().config) {
			return pid
		}
	}
	return 0
}

// launch starts containerd. Where shims have survived, it joins their mount namespace: the pods' network namespaces are
// mounted there. Where nothing has, what an earlier life left in the state directories is void.
func (r *Runtime) launch(ctx context.Context, p paths, trees []hierarchy, config string) error {
	survivors := slices.DeleteFunc(cgroupPIDs(trees, r.daemonGroup()), func(pid int) bool {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		return err != nil // has ended and awaits its parent's notice
	})
	if len(survivors) == 0 {
		if err := errors.Join(os.RemoveAll(p.state), os.RemoveAll(p.shims)); err != nil {
			return fmt.Errorf("containerd: remove stale state: %w", err)
		}
	}
	if err := os.MkdirAll(p.shims, 0o711); err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	if err := durable.WriteFile(p.config, []byte(config), 0o600); err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	cmd, err := r.spawn(p, trees, survivors)
	if err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	ready := make(chan error, 1)
	go func() { ready <- r.answers(ctx, 30*time.Second) }()
	select {
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("containerd does not serve pods on %s: %w%s", p.socket, err, lastLines(p.log))
		}
		return nil
	case err := <-exited:
		return fmt.Errorf("containerd ended at once: %v%s", err, lastLines(p.log))
	}
}

// spawn starts the process in our cgroup and mount namespace.
func (r *Runtime) spawn(p paths, trees []hierarchy, survivors []int) (*exec.Cmd, error) {
	binary, err := exec.LookPath("containerd")
	if err != nil {
		return nil, fmt.Errorf("containerd: not found in PATH: install the package containerd: %w", err)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(binary, configFlag, p.config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.Env = daemonEnv(os.Environ(), r.environment())
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if r.Record != nil {
		if err := r.Record("cgroup", r.CgroupRoot); err != nil {
			return nil, fmt.Errorf("containerd: cgroup: %w", err)
		}
	}
	home := homeHierarchy(trees)
	group := filepath.Join(home.mount, r.daemonGroup())
	if err := os.MkdirAll(group, 0o755); err != nil {
		return nil, fmt.Errorf("containerd: cgroup: %w", err)
	}
	err = onOwnThread(func() error {
		leave, err := enterGroup(home, group, cmd)
		if err != nil {
			return err
		}
		defer leave()
		joined, err := joinAny(survivors)
		if err == nil && !joined {
			err = ownMounts(p)
		}
		if err != nil {
			return err
		}
		return cmd.Start()
	})
	if err != nil {
		return nil, fmt.Errorf("containerd: start: %w", err)
	}
	return cmd, nil
}

// enterGroup arranges that the command starts inside the group: through clone3 on v2, by moving the calling thread on v1. The
// returned function releases what the start needed.
func enterGroup(home hierarchy, group string, cmd *exec.Cmd) (func(), error) {
	if !home.v2 {
		return func() {}, os.WriteFile(filepath.Join(group, "tasks"), fmt.Appendf(nil, "%d", unix.Gettid()), 0)
	}
	fd, err := unix.Open(group, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", group, err)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	return func() { unix.Close(fd) }, nil
}

// daemonEnv is the environment of containerd: ours, with a PATH that has runc and the shim, without the supervisor's socket, and with
// no proxy but that which it is to have.
func daemonEnv(env, proxy []string) []string {
	const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "NOTIFY_SOCKET" || strings.HasSuffix(strings.ToUpper(name), "_PROXY")
	})
	out = append(out, proxy...)
	for i, kv := range out {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			out[i] = "PATH=" + path + ":" + system
			return out
		}
	}
	return append(out, "PATH="+system)
}

// answers waits until the CRI service answers, asking again after 1 ms, 2 ms and so on up to 20 ms.
func (r *Runtime) answers(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := r.version(ctx)
		if err == nil {
			return nil
		}
		if status.Code(err) == codes.Unimplemented {
			return err // it serves, but its CRI plugin could not load: waiting does not help
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

// version asks over a connection of its own, so that the shared one never enters its reconnect back-off.
func (r *Runtime) version(ctx context.Context) error {
	if _, err := os.Stat(r.paths().socket); err != nil {
		return err
	}
	conn, err := r.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = runtimeapi.NewRuntimeServiceClient(conn).Version(ctx, &runtimeapi.VersionRequest{})
	return err
}

func (r *Runtime) dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+r.paths().socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	return conn, nil
}

// Conn is the shared connection to the CRI services. It connects at the first call and reconnects by itself.
func (r *Runtime) Conn() (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		conn, err := r.dial()
		if err != nil {
			return nil, err
		}
		r.conn = conn
	}
	return r.conn, nil
}

// lastLines is the end of a log file, ready to follow an error text.
func lastLines(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// cniBinDir finds the CNI plugins: where Debian puts them, or where the upstream archive is unpacked.
func cniBinDir() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("cni: no ptp plugin in /usr/lib/cni or /opt/cni/bin: install the package containernetworking-plugins")
}

// hasCapability tells whether this process holds a capability in its effective set.
func hasCapability(number uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[number/32].Effective&(1<<(number%32)) != 0
}
