package bgp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestMain makes this program a speaker of its own when it is started as one: a speaker works in the network namespace of its
// process.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "speaker" {
		speak(os.Stdin, os.Stdout)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "announcer" {
		announceWorld(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// speak runs a Speaker that is told of its wishes line by line, and tells its states whenever they change. When in ends it takes leave.
func speak(in io.Reader, out io.Writer) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	changed := make(chan struct{}, 1)
	s := NewSpeaker(log, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	go func() {
		for range changed {
			_ = json.NewEncoder(out).Encode(s.States())
		}
	}()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var wishes []Wish
		if err := json.Unmarshal(lines.Bytes(), &wishes); err != nil {
			log.Error("wishes", "err", err)
		}
		s.Apply(wishes)
	}
	s.Stop(context.Background())
}

// node is a node with a speaker in it.
type node struct {
	t      *testing.T
	space  *netlab.Netns
	cmd    *exec.Cmd
	in     io.WriteCloser
	states chan []State
	log    *lines
	// of an announcer: what it has answered
	answers chan []map[string]any
}

// lines is what a program has written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts the speaker of a node.
func (n *node) start(wishes ...Wish) {
	n.t.Helper()
	out := n.launch("speaker")
	n.states = make(chan []State, 100)
	go decode(out, n.states)
	n.wish(wishes...)
}

// launch starts this program as a speaker or an announcer of the node.
func (n *node) launch(as string) (out io.Reader) {
	n.t.Helper()
	cmd := exec.Command(os.Args[0], as)
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		n.t.Fatal(err)
	}
	n.log = &lines{}
	cmd.Stderr = n.log
	n.space.Do(func() { err = cmd.Start() })
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd, n.in = cmd, in
	n.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if as == "announcer" {
		n.answers = make(chan []map[string]any, 1)
		go decode(out, n.answers)
	}
	return out
}

// decode reads what a program tells, value by value, until it ends.
func decode[T any](from io.Reader, to chan<- T) {
	defer close(to)
	for decoder := json.NewDecoder(from); ; {
		var v T
		if decoder.Decode(&v) != nil {
			return
		}
		to <- v
	}
}

// pause lets a little time pass between two questions.
func (n *node) pause() { time.Sleep(100 * time.Millisecond) }

// wish tells the speaker what is wished.
func (n *node) wish(wishes ...Wish) {
	n.t.Helper()
	if err := json.NewEncoder(n.in).Encode(wishes); err != nil {
		n.t.Fatal(err)
	}
}

// state waits until the speaker tells a state of its first session that is as wanted.
func (n *node) state(what string, wanted func(State) bool) {
	n.t.Helper()
	last := []State{}
	for deadline := time.After(patience); ; {
		select {
		case all, ok := <-n.states:
			if !ok {
				n.t.Fatalf("the speaker has ended:\n%s", n.log)
			}
			if last = all; len(all) > 0 && wanted(all[0]) {
				return
			}
		case <-deadline:
			n.t.Fatalf("%s: the last states are %+v\n%s", what, last, n.log)
		}
	}
}

// stop ends the speaker in order and waits for its end.
func (n *node) stop() {
	n.t.Helper()
	_ = n.in.Close()
	if err := n.cmd.Wait(); err != nil {
		n.t.Fatalf("speaker: %v\n%s", err, n.log)
	}
}

// kill ends the speaker as a crash does.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// patience bounds every wait.
const patience = 40 * time.Second

// router is a BIRD in a namespace of its own, with routes in that namespace's kernel.
type router struct {
	t     *testing.T
	space *netlab.Netns
	dir   string
	log   *lines
}

// always is what every router has: routes go to the kernel, all next hops of one.
const always = `
router id 192.0.2.254;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; interface "eth*"; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on; scan time 1; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; merge paths on; scan time 1; }
`

// bird starts a BIRD with sessions as they are configured.
func bird(t *testing.T, space *netlab.Netns, sessions string) *router {
	t.Helper()
	r := &router{t: t, space: space, dir: t.TempDir(), log: &lines{}}
	conf := filepath.Join(r.dir, "bird.conf")
	if err := os.WriteFile(conf, []byte(always+sessions), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/bird", "-f", "-c", conf, "-s", filepath.Join(r.dir, "ctl"), "-P", filepath.Join(r.dir, "pid"))
	cmd.Stdout, cmd.Stderr = r.log, r.log
	var err error
	space.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatalf("bird (make setup installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r.await("bird answers", func() bool { return strings.Contains(r.ask("show", "status"), "Daemon is up") })
	return r
}

// ask asks BIRD.
func (r *router) ask(words ...string) string {
	out, _ := exec.Command("/usr/sbin/birdc", append([]string{"-s", filepath.Join(r.dir, "ctl")}, words...)...).CombinedOutput()
	return string(out)
}

// await waits until something is so.
func (r *router) await(what string, so func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not so: %s\n%s\n%s\n%s", what, r.ask("show", "protocols", "all"), r.ask("show", "route", "all"), r.log)
		}
	}
}

// kernel is what the router's kernel does with an address: its next hops, sorted as the kernel lists them.
func (r *router) kernel(prefix string) string {
	r.t.Helper()
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	out, err := r.space.Command("ip", "-o", family, "route", "show", "exact", prefix)
	if err != nil {
		r.t.Fatal(err, out)
	}
	return strings.TrimSpace(out)
}

// routed waits until the router's kernel has a route with all the given next hops and no others.
func (r *router) routed(prefix string, hops ...string) {
	r.t.Helper()
	r.await(fmt.Sprintf("%s by %v", prefix, hops), func() bool {
		is := r.kernel(prefix)
		for _, hop := range hops {
			if !strings.Contains(is, "via "+hop+" ") {
				return false
			}
		}
		return strings.Count(is, "via ") == len(hops)
	})
}

// network is a router with two nodes and a client behind it. The nodes serve the addresses that are announced.
type network struct {
	space, client *netlab.Netns
	nodes         []*node
}

var (
	vip4 = netip.MustParsePrefix("203.0.113.10/32")
	vip6 = netip.MustParsePrefix("2001:db8:ff::10/128")
)

// lab makes the network: node i is 192.0.2.(4i+2)/30 and 2001:db8:(i+1)::2/64, the router the one before.
func lab(t *testing.T) *network {
	t.Helper()
	l := &network{space: netlab.New(t, "router")}
	l.space.Sysctl("net/ipv4/fib_multipath_hash_policy", "1") // by ports as well
	for i := range 2 {
		n := &node{t: t, space: netlab.New(t, fmt.Sprintf("n%d", i))}
		netlab.Connect(l.space, netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/30", 4*i+1)), n.space, netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/30", 4*i+2)))
		six := func(space *netlab.Netns, link string, host int) {
			if out, err := space.Command("ip", "address", "add", fmt.Sprintf("2001:db8:%d::%d/64", i+1, host), "dev", link, "nodad"); err != nil {
				t.Fatal(err, out)
			}
		}
		six(l.space, fmt.Sprintf("eth%d", i), 1)
		six(n.space, "eth0", 2)
		n.space.Via(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 4*i+1)), netip.MustParsePrefix("0.0.0.0/0"))
		n.space.Via(netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", i+1)), netip.MustParsePrefix("::/0"))
		n.space.Address(vip4, vip6)
		for _, vip := range []netip.Prefix{vip4, vip6} {
			n.space.Serve(netip.AddrPortFrom(vip.Addr(), 80), fmt.Sprintf("n%d", i))
		}
		l.nodes = append(l.nodes, n)
	}
	l.client = netlab.Leaf(l.space, "client", []netip.Addr{netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8:c::2")},
		[]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:c::1")})
	return l
}

// peer is the router as a node of the lab sees it, over IPv4.
func peer(i int) Peer {
	a := netip.MustParseAddr
	return Peer{
		Name: "tor", Addr: a(fmt.Sprintf("192.0.2.%d", 4*i+1)), ASN: 64512, LocalASN: 64513, RouterID: a(fmt.Sprintf("192.0.2.%d", 4*i+2)),
		NextHop6: a(fmt.Sprintf("2001:db8:%d::2", i+1)),
	}
}

// configured is a node as the router has it configured: further lines say what is special.
func configured(i int, special string) string {
	return fmt.Sprintf(`
protocol bgp n%[1]d {
  local 192.0.2.%[2]d as 64512;
  neighbor 192.0.2.%[3]d as 64513;
  error wait time 1, 2; # else a minute in which it refuses whoever it has had a quarrel with
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
  %[4]s
}
`, i, 4*i+1, 4*i+2, special)
}

func both(p Peer) Wish { return Wish{Peer: p, Routes: []Route{{Prefix: vip4}, {Prefix: vip6}}} }

func up(s State) bool { return s.Up }
