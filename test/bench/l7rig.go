package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"fairlead.dev/fairlead/host/netns"
)

// Names of what is measured, as the tables have them.
const (
	engineName  = "Fairlead"
	nginxName   = "nginx"
	haproxyName = "HAProxy"
	goName      = "net/http"
	directName  = "backend alone"
)

// routeHost is the host that every proxy of the rig has a route for.
const routeHost = "web.example"

// The rig's addresses.
var (
	proxyAt   = netip.MustParseAddr("10.78.1.1")
	backendAt = netip.MustParseAddrPort("10.78.2.2:80")
)

// rig is a client, proxies and a backend, each in a network namespace; the proxies are in the bench's own.
type rig struct {
	dir             string
	client, backend string // their namespaces
	targets         []*l7Server
	processes       []*exec.Cmd
}

// l7Server is something that answers requests. Its processes are those of a session of their own, which the scheduler gives
// a share of its own.
type l7Server struct {
	name          string
	plain, secure netip.AddrPort
	session       int
}

// takes reports whether a target is measured in a case.
func (t *l7Server) takes(c l7Case) bool {
	switch t.name {
	case directName:
		return !c.secure
	case goName:
		return c.connections == 64 && !c.once
	}
	return true
}

// address is where and how a case uses a target.
func (t *l7Server) address(c l7Case) (url string, at netip.AddrPort) {
	if c.secure {
		return "https://" + routeHost + "/", t.secure
	}
	return "http://" + routeHost + "/", t.plain
}

func newRig(ctx context.Context) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			r.remove()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "fairlead-bench-"); err != nil {
		return r, err
	}
	r.client, r.backend = filepath.Join(r.dir, "client"), filepath.Join(r.dir, "backend")
	link := func(path, name, subnet string) error {
		return errors.Join(netns.Create(path),
			linkTo(path, name, netip.MustParsePrefix(subnet+".1/24"), netip.MustParsePrefix(subnet+".2/24")))
	}
	err = errors.Join(link(r.client, "l7client", "10.78.1"), link(r.backend, "l7backend", "10.78.2"),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), // of this namespace: for the backend alone
		writeCertificate(r.dir, routeHost))
	if err != nil {
		return r, err
	}
	return r, r.startAll(ctx)
}

// startAll starts the backend, and each proxy on two ports of its own.
func (r *rig) startAll(ctx context.Context) error {
	direct := &l7Server{name: directName, plain: backendAt}
	r.targets = append(r.targets, direct)
	err := r.start(ctx, direct, backendConf, "nginx", "-c", "{}", "-e", "stderr")
	for i, p := range []struct {
		name, conf string
		args       []string
	}{
		{engineName, "", []string{engineArg}},
		{nginxName, nginxConf, []string{"nginx", "-c", "{}", "-e", "stderr"}},
		{haproxyName, haproxyConf, []string{"haproxy", "-db", "-f", "{}"}},
		{goName, "", []string{goArg}},
	} {
		t := &l7Server{name: p.name, plain: netip.AddrPortFrom(proxyAt, uint16(8001+i)), secure: netip.AddrPortFrom(proxyAt, uint16(8401+i))}
		r.targets = append(r.targets, t)
		err = errors.Join(err, r.start(ctx, t, p.conf, p.args...))
	}
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		if err := r.answers(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// The configurations of the servers.
var (
	//go:embed backend.conf
	backendConf string
	//go:embed nginx.conf
	nginxConf string
	//go:embed haproxy.conf
	haproxyConf string
)

// place is what a configuration is written for, and what a child process is told.
type place struct {
	Dir, Host              string
	Plain, Secure, Backend netip.AddrPort
}

// start starts a target. {} in args is the file of its configuration; a program without one is this one again.
func (r *rig) start(ctx context.Context, t *l7Server, conf string, args ...string) error {
	at := place{r.dir, routeHost, t.plain, t.secure, backendAt}
	file := r.file(t, "conf")
	var cmd *exec.Cmd
	if conf == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		text, err := json.Marshal(at)
		if err != nil {
			return err
		}
		cmd = exec.CommandContext(ctx, self, string(text))
		cmd.Args[0] = args[0]
	} else {
		var b strings.Builder
		if err := template.Must(template.New(t.name).Parse(conf)).Execute(&b, at); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			return err
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{}", file)
		}
		cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	}
	return r.run(t, cmd)
}

// file is one of a server's.
func (r *rig) file(t *l7Server, kind string) string {
	return filepath.Join(r.dir, strings.NewReplacer("/", "-", " ", "-").Replace(t.name)+"."+kind)
}

func (r *rig) run(t *l7Server, cmd *exec.Cmd) error {
	log, err := os.Create(r.file(t, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // a master ends its workers
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if t.name == directName {
		err = netns.Start(r.backend, cmd)
	} else {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start %s (setup/install bench): %w", t.name, err)
	}
	t.session = cmd.Process.Pid
	r.processes = append(r.processes, cmd)
	return nil
}

// answers waits until a target answers as it should on its ports.
func (r *rig) answers(ctx context.Context, t *l7Server) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, c := range []l7Case{{connections: 1}, {connections: 1, secure: true}} {
		if !t.takes(c) && t.name != goName {
			continue
		}
		url, at := t.address(c)
		for {
			cmd := exec.CommandContext(ctx, "curl", "-sk", "--fail", "--connect-to", "::"+at.String(), url)
			var out strings.Builder
			cmd.Stdout = &out
			err := netns.Start(r.client, cmd)
			if err == nil {
				err = cmd.Wait()
			}
			if err == nil && strings.HasPrefix(out.String(), "hello") {
				break
			}
			if ctx.Err() != nil {
				log, _ := os.ReadFile(r.file(t, "log"))
				return fmt.Errorf("%s does not answer at %s: %w: %.500s", t.name, at, err, log)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

func (r *rig) remove() {
	for _, cmd := range r.processes {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}
	for _, path := range []string{r.client, r.backend} {
		if netns.Bound(path) {
			netns.Remove(path)
		}
	}
	os.RemoveAll(r.dir)
}

// used is the processor time of a target's processes, and their memory in bytes, where what they share counts once.
func (t *l7Server) used() (cpu time.Duration, memory int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if sessionOf(dir) != t.session {
			continue
		}
		_, ticks := usage(dir)
		cpu += time.Duration(ticks) * time.Second / 100
		rollup, _ := os.ReadFile(dir + "/smaps_rollup")
		if _, pss, is := strings.Cut(string(rollup), "\nPss:"); is {
			kb, _ := strconv.Atoi(strings.Fields(pss)[0])
			memory += kb << 10
		}
	}
	return cpu, memory
}

// sessionOf is the session of a process, zero if it has gone.
func sessionOf(dir string) int {
	stat, _ := os.ReadFile(dir + "/stat")
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 4 {
		return 0
	}
	id, _ := strconv.Atoi(f[3])
	return id
}
