package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	miekg "github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/host/netns"
)

// load is what a server did under as many queries as it takes.
type load struct {
	rate, each float64 // answers a second; processor time of each in microseconds
	lost       int
}

func (l load) String() string {
	text := fmt.Sprintf("%s/s, %.1f us each", thousands(int(l.rate)), l.each)
	if l.lost > 0 {
		text += fmt.Sprintf(", %d lost", l.lost)
	}
	return text
}

// floods has dnsperf keep 200 queries of each mix under way, at the cluster's server and at the baseline's.
func floods(ctx context.Context, c *cluster, from client) ([]row, error) {
	var rows []row
	for _, m := range mixes() {
		ours, err := from.flood(ctx, clusterDNS, m, c.cpu)
		if err != nil {
			return rows, err
		}
		least, err := from.flood(ctx, leastAt, m, ownCPU)
		if err != nil {
			return rows, err
		}
		baseline := "miekg/dns: " + least.String()
		if m.own {
			baseline = fmt.Sprintf("miekg/dns, asking on: %s/s", thousands(int(least.rate)))
		}
		rows = append(rows, row{"queries for " + m.what, ours.String(), baseline, budget{}})
	}
	return rows, nil
}

// flood runs dnsperf for some seconds. used is the processor time of the server's process.
func (c client) flood(ctx context.Context, at netip.AddrPort, m mix, used func() time.Duration) (load, error) {
	file := filepath.Join(c.dir, "names")
	if err := os.WriteFile(file, []byte(m.lines()), 0o600); err != nil {
		return load{}, err
	}
	before := used()
	var out []byte
	err := netns.Do(c.netns, func() (err error) {
		out, err = exec.CommandContext(ctx, "dnsperf", "-s", at.Addr().String(), "-p", fmt.Sprint(at.Port()), "-d", file, "-l", "3", "-c", "8", "-T", "1", "-q", "200").CombinedOutput()
		return err
	})
	if err != nil {
		return load{}, fmt.Errorf("dnsperf (apt-get install dnsperf): %w: %s", err, out)
	}
	spent := used() - before
	number := func(pattern string) float64 {
		found := regexp.MustCompile(pattern).FindSubmatch(out)
		if found == nil {
			err = errors.Join(err, fmt.Errorf("dnsperf says nothing like %q: %s", pattern, out))
			return 1
		}
		v, _ := strconv.ParseFloat(string(found[1]), 64)
		return v
	}
	l := load{rate: number(`Queries per second: +([\d.]+)`), lost: int(number(`Queries lost: +(\d+)`))}
	l.each = float64(spent.Microseconds()) / number(`Queries completed: +(\d+)`)
	return l, err
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// waits is how long a client waits for an answer, one query after the other and at a steady rate.
func waits(from client) ([]row, error) {
	var rows []row
	for _, w := range []struct {
		what string
		ask  func(*querier) ([]time.Duration, error)
	}{
		{"answer, one query after the other", func(q *querier) ([]time.Duration, error) { return q.oneByOne(20000) }},
		{"answer at 5 000 queries/s", func(q *querier) ([]time.Duration, error) { return q.steady(5, 4*time.Second) }},
	} {
		var took [2][]time.Duration
		for i, at := range []netip.AddrPort{clusterDNS, leastAt} {
			q, err := dialIn(from.netns, at)
			if err != nil {
				return rows, err
			}
			took[i], err = w.ask(q)
			q.Close()
			if err != nil {
				return rows, fmt.Errorf("%s: %w", w.what, err)
			}
		}
		_, p99 := quantiles(took[0])
		rows = append(rows, row{w.what, percentiles(took[0]), "miekg/dns: " + percentiles(took[1]), held("p99 < 1 ms", p99 < time.Millisecond)})
	}
	return rows, nil
}

// querier asks one server.
type querier struct {
	net.Conn
	buf [1500]byte
}

// dialIn opens a querier's socket inside a network namespace.
func dialIn(path string, to netip.AddrPort) (*querier, error) {
	q := &querier{}
	return q, netns.Do(path, func() (err error) {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		q.Conn = c
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		// what a client that has to wait for a processor does not lose
		if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) }); e != nil {
			return e
		}
		return err
	})
}

// ask sends one query and reads its answer.
func (q *querier) ask(wire []byte) ([]byte, error) {
	q.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := q.Write(wire); err != nil {
		return nil, err
	}
	n, err := q.Read(q.buf[:])
	return q.buf[:n], err
}

// address is the only address of a name, invalid if it has none.
func (q *querier) address(name string) (netip.Addr, error) {
	wire, err := new(miekg.Msg).SetQuestion(name, miekg.TypeA).Pack()
	if err != nil {
		return netip.Addr{}, err
	}
	answer, err := q.ask(wire)
	m := new(miekg.Msg)
	if err == nil {
		err = m.Unpack(answer)
	}
	if err != nil || len(m.Answer) != 1 {
		return netip.Addr{}, err
	}
	a, _ := m.Answer[0].(*miekg.A)
	if a == nil {
		return netip.Addr{}, nil
	}
	ip, _ := netip.AddrFromSlice(a.A.To4())
	return ip, nil
}

func someQuery() ([]byte, error) {
	return new(miekg.Msg).SetQuestion(names(2, "svc-%d.")[1]+".", miekg.TypeA).Pack()
}

func (q *querier) oneByOne(n int) ([]time.Duration, error) {
	wire, err := someQuery()
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		if _, err := q.ask(wire); err != nil {
			return nil, err
		}
		took[i] = time.Since(begin)
	}
	return took, nil
}

// steady sends some queries each millisecond, whether or not those before are answered. One that is not within five
// seconds counts as five.
func (q *querier) steady(each int, during time.Duration) ([]time.Duration, error) {
	wire, err := someQuery()
	if err != nil {
		return nil, err
	}
	n := min(each*int(during/time.Millisecond), 1<<16)
	sent := make([]atomic.Int64, n) // nanoseconds since begin
	begin := time.Now()
	q.SetDeadline(begin.Add(during + 5*time.Second))
	var g errgroup.Group
	g.Go(func() error {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for i := 0; i < n; {
			<-ticks.C
			for due := min(n, each*int(time.Since(begin)/time.Millisecond)); i < due; i++ {
				wire[0], wire[1] = byte(i>>8), byte(i)
				sent[i].Store(int64(time.Since(begin)))
				if _, err := q.Write(wire); err != nil {
					return err
				}
			}
		}
		return nil
	})
	took := make([]time.Duration, 0, n)
	for len(took) < n {
		if _, err := q.Read(q.buf[:]); err != nil {
			for len(took) < n {
				took = append(took, 5*time.Second)
			}
			break
		}
		took = append(took, time.Since(begin)-time.Duration(sent[int(q.buf[0])<<8|int(q.buf[1])].Load()))
	}
	return took, g.Wait()
}

// least is a server on github.com/miekg/dns.
type least struct{ server *miekg.Server }

// startLeast starts a server that knows the names of a list, or all names if there is none; with a server to ask, it
// asks that about names of load.example, each time.
func startLeast(at netip.AddrPort, known []string, ask netip.AddrPort) (*least, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, n := range known {
		listed[n+"."] = true
	}
	soa, err := miekg.NewRR("cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5")
	if err != nil {
		return nil, err
	}
	up := miekg.Client{Timeout: 2 * time.Second}
	answer := func(w miekg.ResponseWriter, q *miekg.Msg) {
		name := strings.ToLower(q.Question[0].Name)
		m := new(miekg.Msg).SetReply(q)
		switch {
		case ask.IsValid() && strings.HasSuffix(name, ".load.example."):
			if answer, _, err := up.Exchange(q, ask.String()); err == nil {
				m = answer
			}
		case known == nil && q.Question[0].Qtype == miekg.TypeA || listed[name]:
			m.Answer = []miekg.RR{&miekg.A{Hdr: miekg.RR_Header{Name: q.Question[0].Name, Rrtype: miekg.TypeA, Class: miekg.ClassINET, Ttl: 600}, A: net.IPv4(192, 0, 2, 80)}}
		default:
			m.Rcode, m.Ns = miekg.RcodeNameError, []miekg.RR{soa}
		}
		w.WriteMsg(m)
	}
	l := &least{&miekg.Server{PacketConn: c, Handler: miekg.HandlerFunc(answer)}}
	go l.server.ActivateAndServe()
	return l, nil
}

func (l *least) stop() { l.server.Shutdown() }
