package script

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fairlead.dev/fairlead/host/netns"
)

// machine is a host outside of the cluster, on its network: a network namespace with a link into the
// lab's fabric. Its addresses may be any; the nodes have a route to them, and it takes everybody to be near.
type machine struct {
	name     string
	addrs    []netip.Addr
	file     string // its network namespace
	programs []*exec.Cmd
}

// farewell is how long a program on a machine has to end when it is asked to.
const farewell = 10 * time.Second

// machineName keeps a name short enough for a link.
var machineName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,12}$`)

// outside is the command that makes a machine with addresses.
func (s *scene) outside(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || !machineName.MatchString(args[0]) {
		ts.Fatalf("usage: outside NAME ADDRESS...")
	}
	m := &machine{name: args[0], file: s.namespace(args[0])}
	for _, text := range args[1:] {
		addr, err := netip.ParseAddr(text)
		ts.Check(err)
		m.addrs = append(m.addrs, addr)
	}
	if _, err := os.Stat(m.file); err == nil {
		ts.Fatalf("%s is there already", m.file)
	}
	s.machines = append(s.machines, m)
	ts.Check(netns.Create(m.file))
	fabric := s.namespace("fabric")
	for _, c := range []struct{ in, line string }{
		{fabric, "link add " + m.link() + " type veth peer name eth0 address " + m.hardware() + " netns " + m.file},
		{fabric, "link set " + m.link() + " master br0 up"},
		{m.file, "link set lo up"},
		{m.file, "link set eth0 up"},
	} {
		ts.Check(ip(c.in, c.line))
	}
	for _, addr := range m.addrs {
		family := familyOf(addr)
		add := family + "address add " + netip.PrefixFrom(addr, addr.BitLen()).String() + " dev eth0"
		if addr.Is6() {
			add += " nodad" // usable at once
		}
		ts.Check(ip(m.file, add))
		ts.Check(ip(m.file, family+"route add default dev eth0"))
		for _, node := range s.lab.Nodes {
			ts.Check(ip(s.namespace(node), family+"route add "+addr.String()+" dev eth0"))
		}
	}
}

// familyOf is the option by which the ip command means a family.
func familyOf(addr netip.Addr) string {
	if addr.Is6() {
		return "-6 "
	}
	return "-4 "
}

// hardware is the link address of a machine, the same whenever there is one with its first address: nobody has to forget
// another.
func (m *machine) hardware() string {
	a := m.addrs[0].As16()
	return net.HardwareAddr{2, 0, a[12], a[13], a[14], a[15]}.String()
}

// link is the name of the fabric's end of the machine's link.
func (m *machine) link() string { return "x-" + m.name }

func (s *scene) namespace(name string) string { return filepath.Join(s.lab.Dir, "netns", name) }

// ip runs the ip command in a network namespace.
func ip(file, line string) error {
	cmd := exec.Command("ip", strings.Fields(line)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := netns.Start(file, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("in %s: ip %s: %w: %s", filepath.Base(file), line, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// start is the command that starts a program on a machine, in a process group of its own. What it says
// goes to the file NAME.log.
func (s *scene) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM")
	}
	m := s.machine(args[0])
	if m == nil {
		ts.Fatalf("there is no machine %s", args[0])
	}
	log, err := os.OpenFile(ts.MkAbs(m.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), s.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ts.Check(netns.Start(m.file, cmd))
	m.programs = append(m.programs, cmd)
}

// halt is the command that ends the programs on machines and leaves the machines.
func (s *scene) halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: halt NAME...")
	}
	for _, name := range args {
		m := s.machine(name)
		if m == nil {
			ts.Fatalf("there is no machine %s", name)
		}
		ts.Check(m.end())
	}
}

// gone is the command that ends everything on machines and takes them away.
func (s *scene) gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gone NAME...")
	}
	for _, name := range args {
		m := s.machine(name)
		if m == nil {
			ts.Fatalf("there is no machine %s", name)
		}
		ts.Check(s.remove(m))
	}
}

// machine finds one by its name, nil if there is none.
func (s *scene) machine(name string) *machine {
	for _, m := range s.machines {
		if m.name == name {
			return m
		}
	}
	return nil
}

// remove ends a machine's programs and takes away its link, its routes and its namespace.
func (s *scene) remove(m *machine) error {
	errs := []error{m.end()}
	errs = append(errs, ip(s.namespace("fabric"), "link delete "+m.link()))
	for _, node := range s.lab.Nodes {
		for _, addr := range m.addrs {
			errs = append(errs, ip(s.namespace(node), familyOf(addr)+"route delete "+addr.String()+" dev eth0"))
		}
	}
	errs = append(errs, netns.Remove(m.file))
	for i := range s.machines {
		if s.machines[i] == m {
			s.machines = append(s.machines[:i], s.machines[i+1:]...)
			break
		}
	}
	return errors.Join(errs...)
}

// end ends a machine's programs.
func (m *machine) end() error {
	var errs []error
	for _, cmd := range m.programs {
		errs = append(errs, end(cmd))
	}
	m.programs = nil
	return errors.Join(errs...)
}

// end asks a program to end, and ends its whole process group if it does not.
func end(cmd *exec.Cmd) error {
	group := -cmd.Process.Pid
	if err := syscall.Kill(group, syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s is not there to be ended: %w", cmd.Path, err)
	}
	late := time.AfterFunc(farewell, func() { syscall.Kill(group, syscall.SIGKILL) })
	cmd.Wait()                           // how it ended when it was told to is its own affair
	syscall.Kill(group, syscall.SIGKILL) // children that outlived it
	if !late.Stop() {
		return fmt.Errorf("%s did not end within %s", cmd.Path, farewell)
	}
	return nil
}

// outsiders lists what there is besides the nodes on the lab's network.
func (s *scene) outsiders(dir string) ([]string, error) {
	files, err := os.ReadDir(filepath.Join(s.lab.Dir, "netns"))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, f := range files {
		list = append(list, "namespace "+f.Name())
	}
	links, err := s.output(dir, "on", "fabric", "ip", "-o", "link")
	if err != nil {
		return nil, err
	}
	for _, line := range lines(links) {
		if f := strings.Fields(line); len(f) > 1 {
			list = append(list, "fabric link "+f[1])
		}
	}
	return list, nil
}
