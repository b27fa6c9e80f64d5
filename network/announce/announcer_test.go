package announce

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/internal/netlab"
)

// TestMain makes this program an announcer of its own when it is started as one, which a test can kill.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "announcer" {
		converse()
		return
	}
	os.Exit(m.Run())
}

// converse takes questions from its input, a line each, and answers them, until the input ends: then it stops.
func converse() {
	ctx, cancel := context.WithCancel(context.Background())
	a, ended := New(nil, slog.New(slog.NewTextHandler(os.Stderr, nil))), make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "stop" {
			cancel()
			continue
		}
		answer := httptest.NewRecorder()
		a.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, announce.Path, bytes.NewReader(in.Bytes())))
		io.Copy(os.Stdout, answer.Body)
	}
	cancel()
	<-ended
	fmt.Println(`{"revision": "ended"}`)
}

// machine is a node, or a client, on the segment.
type machine struct {
	*netlab.Netns
	t   *testing.T
	mac string
	in  io.Writer
	out *bufio.Scanner
	cmd *exec.Cmd
}

const vip4, vip6 = "192.0.2.99", "2001:db8::99"

// segment is a bridge with machines that have the addresses .1, .2 and so on.
func segment(t *testing.T, names ...string) []*machine {
	t.Helper()
	fabric := netlab.New(t, "fabric")
	must := func(n *netlab.Netns, words string) string {
		t.Helper()
		out, err := n.Command("ip", strings.Fields(words)...)
		if err != nil {
			t.Fatal(err, out)
		}
		return out
	}
	must(fabric, "link add br0 type bridge mcast_snooping 1")
	must(fabric, "link set br0 up")
	var all []*machine
	for i, name := range names {
		m := &machine{Netns: netlab.New(t, name), t: t}
		mine := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 24)
		link, far := netlab.Connect(m.Netns, mine, fabric, netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/32", i+1)))
		must(fabric, "link set "+far+" master br0")
		must(m.Netns, fmt.Sprintf("address add 2001:db8::%d/64 dev %s nodad", i+1, link))
		m.mac = strings.Fields(must(m.Netns, "-brief link show "+link))[2]
		all = append(all, m)
	}
	return all
}

// serve makes a node answer at the addresses without having them on a link, as Services' rules do.
func (m *machine) serve() {
	m.t.Helper()
	m.Sysctl("net/ipv4/conf/all/arp_ignore", "1") // an address that is a route alone is not answered for by the kernel
	m.Sysctl("net/ipv6/ip_nonlocal_bind", "1")
	for _, words := range []string{"route add local " + vip4 + " dev lo", "-6 route add local " + vip6 + " dev lo"} {
		if out, err := m.Command("ip", strings.Fields(words)...); err != nil {
			m.t.Fatal(err, out)
		}
	}
	m.Serve(netip.MustParseAddrPort(vip4+":80"), m.mac)
	m.Serve(netip.MustParseAddrPort("["+vip6+"]:80"), m.mac)
}

// start starts an announcer on the node.
func (m *machine) start() {
	m.t.Helper()
	m.cmd = exec.Command("/proc/self/exe", "announcer")
	m.cmd.Stderr = m.t.Output()
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		m.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.out = bufio.NewScanner(out)
	m.Do(func() { err = m.cmd.Start() })
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(m.kill)
}

func (m *machine) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// ask says to a node's announcer what the control plane would.
func (m *machine) ask(r announce.Request) announce.Reply {
	m.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		m.t.Fatal(err)
	}
	fmt.Fprintf(m.in, "%s\n", text)
	return m.reply()
}

func (m *machine) reply() (r announce.Reply) {
	m.t.Helper()
	if !m.out.Scan() {
		m.t.Fatalf("the announcer of %s has ended: %v", m.mac, m.out.Err())
	}
	if err := json.Unmarshal(m.out.Bytes(), &r); err != nil {
		m.t.Fatal(err)
	}
	return r
}

// both are the addresses, to be treated in one way.
func both(of announce.Address) []announce.Address {
	four, six := of, of
	four.Addr, six.Addr = netip.MustParseAddr(vip4), netip.MustParseAddr(vip6)
	return []announce.Address{four, six}
}

// announces has a node announce the addresses, and waits until it does.
func (m *machine) announces(of announce.Address) {
	m.t.Helper()
	r := announce.Request{Revision: fmt.Sprint(of), Full: true, Addresses: both(of)}
	for reply := m.ask(r); ; reply = m.ask(r) {
		if len(reply.Problems) > 0 {
			m.t.Fatalf("%+v", reply)
		}
		if len(reply.Pending) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// reaches checks that a client reaches the addresses at one machine; wait: for up to a few seconds until it does.
func (m *machine) reaches(want string) {
	m.t.Helper()
	for _, vip := range []string{vip4, vip6} {
		to := netip.AddrPortFrom(netip.MustParseAddr(vip), 80)
		if a, err := m.TCP(netip.Addr{}, to, 5*time.Second); err != nil || a.Name != want {
			m.t.Fatalf("%s: %+v, %v; want %s", vip, a, err, want)
		}
	}
}

// forget has a machine ask anew who has the addresses.
func (m *machine) forget() {
	for _, words := range []string{"neigh flush all", "-6 neigh flush all"} {
		if out, err := m.Command("ip", strings.Fields(words)...); err != nil {
			m.t.Fatal(err, out)
		}
	}
}

// TestAnnounced: a client finds the addresses of both families at the node that announces them, whoever knew of another before.
func TestAnnounced(t *testing.T) {
	all := segment(t, "n1", "n2", "client")
	n1, n2, client := all[0], all[1], all[2]
	for _, n := range all[:2] {
		n.serve()
		n.start()
	}
	n1.announces(announce.Address{Probe: true})
	client.reaches(n1.mac)

	// kill -9: what the client has learnt goes on to work, for the rules stay. The next node takes over without being asked for.
	n1.kill()
	client.reaches(n1.mac)
	n2.announces(announce.Address{})
	client.reaches(n2.mac)
	client.forget()
	client.reaches(n2.mac)

	// Handed over: each of many packets is answered, by one node or the other. (A TCP connection is one node's, and ends with the move.)
	n1.start()
	n1.announces(announce.Address{})
	n2.ask(announce.Request{Revision: "ending", Full: true, Addresses: both(announce.Address{Ending: true})})
	for i := range 100 {
		if i == 50 {
			fmt.Fprintln(n2.in, "stop")
			n2.ask(announce.Request{Revision: "none", Full: true})
		}
		for _, vip := range []string{vip4, vip6} {
			if a, err := client.UDP(netip.Addr{}, netip.AddrPortFrom(netip.MustParseAddr(vip), 80), time.Second); err != nil {
				t.Fatalf("packet %d to %s: %+v, %v", i, vip, a, err)
			}
		}
		if i%10 == 5 {
			client.forget()
		}
	}
	client.forget()
	client.reaches(n1.mac)
}

// TestInUse: an address that another machine has is left to it, and taken when that one is gone.
func TestInUse(t *testing.T) {
	all := segment(t, "n1", "stranger", "client")
	n1, stranger, client := all[0], all[1], all[2]
	for _, words := range []string{"address add " + vip4 + "/24 dev eth0", "address add " + vip6 + "/64 dev eth0 nodad"} {
		if out, err := stranger.Command("ip", strings.Fields(words)...); err != nil {
			t.Fatal(err, out)
		}
	}
	stranger.Serve(netip.MustParseAddrPort(vip4+":80"), stranger.mac)
	stranger.Serve(netip.MustParseAddrPort("["+vip6+"]:80"), stranger.mac)
	n1.serve()
	n1.start()
	r := announce.Request{Revision: "a", Full: true, Addresses: both(announce.Address{Probe: true})}
	reply := n1.ask(r)
	for len(reply.Pending) > 0 {
		time.Sleep(10 * time.Millisecond)
		reply = n1.ask(r)
	}
	for _, vip := range []string{vip4, vip6} {
		if got, want := reply.Problems[netip.MustParseAddr(vip)], stranger.mac+" on link eth0 answers for it"; got != want {
			t.Errorf("%s: %q, want %q", vip, got, want)
		}
	}
	client.reaches(stranger.mac)
	if out, err := stranger.Command("ip", "address", "flush", "dev", "eth0"); err != nil {
		t.Fatal(err, out)
	}
	for len(reply.Pending)+len(reply.Problems) > 0 { // it asks again by itself
		time.Sleep(50 * time.Millisecond)
		reply = n1.ask(r)
	}
	client.forget()
	client.reaches(n1.mac)
}

// TestStops: an announcer that holds nothing stops at once, and one that holds something when others have it.
func TestStops(t *testing.T) {
	n1 := segment(t, "n1")[0]
	n1.start()
	n1.announces(announce.Address{})
	fmt.Fprintln(n1.in, "stop")
	for reply := (announce.Reply{}); !reply.Leaving; time.Sleep(10 * time.Millisecond) {
		reply = n1.ask(announce.Request{Revision: "x"})
	}
	n1.ask(announce.Request{Revision: "y", Full: true})
	n1.in.(io.Closer).Close()
	if r := n1.reply(); r.Revision != "ended" {
		t.Errorf("%+v", r)
	}
}
