package nft

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// BenchmarkConnect opens and closes TCP connections from a pod to a pod of
// another node: to its address, and through Services. All variants are there at
// the same time and take turns, a few connections each, so that whatever else
// the machine does happens to all of them alike. Reported is the median, over
// the turns, of what a Service costs over the direct way of the same turn.
func BenchmarkConnect(b *testing.B) {
	var all []*path
	for _, services := range []int{10, 50000} {
		for _, countUpTo := range []int{0, 1 << 20} {
			all = append(all, newPaths(b, services, countUpTo)...)
		}
	}
	over := make([][]float64, len(all))
	b.ResetTimer()
	for range b.N {
		direct := map[*lab]float64{}
		for _, i := range rand.Perm(len(all)) {
			all[i].turn(b)
		}
		for _, p := range all {
			if p.targets == nil {
				direct[p.lab] = p.took
			}
		}
		for i, p := range all {
			over[i] = append(over[i], p.took-direct[p.lab])
		}
	}
	b.StopTimer()
	for i, p := range all {
		if p.targets != nil {
			slices.Sort(over[i])
			n := len(over[i])
			b.ReportMetric(over[i][n/2], "us-"+p.name)
			b.Logf("%s: %.2f (%.2f-%.2f)", p.name, over[i][n/2], over[i][n/4], over[i][3*n/4])
		}
	}
}

// path is a way to a pod.
type path struct {
	name    string
	lab     *lab
	targets []unix.SockaddrInet4 // Services; nil: direct
	listen  []int
	took    float64 // microseconds a connection, median of the last turn
}

const benchPort = 9090

func newPaths(b *testing.B, n, countUpTo int) []*path {
	l := newLab(b)
	at := make([]unix.SockaddrInet4, n)
	for i := range n {
		name := fmt.Sprint("s", i)
		l.world.Put(newService(name, crowdIP(i).String(), corev1.ServicePort{Name: "tcp", Port: 80, Protocol: corev1.ProtocolTCP}))
		s := newSlice(name, podFar, podFar2)
		s.Ports = s.Ports[:1]
		s.Ports[0].Port = ptr.To[int32](benchPort)
		l.world.Put(s)
		at[i] = unix.SockaddrInet4{Addr: crowdIP(i).As4(), Port: 80}
	}
	cfg := benchConfig()
	cfg.CountUpTo = countUpTo
	l.startAs(cfg)
	l.settle()
	var listen []int
	for _, a := range []netip.Addr{podFar, podFar2} {
		l.neighbour.Do(func() { listen = append(listen, listenOn(b, a)) })
	}
	kind := fmt.Sprintf("%d", n)
	if countUpTo > 0 {
		kind += "-counted"
	}
	return []*path{{name: kind + "-direct", lab: l, listen: listen}, {name: kind + "-one", lab: l, targets: at[:1], listen: listen}, {name: kind + "-any", lab: l, targets: at, listen: listen}}
}

func listenOn(b *testing.B, a netip.Addr) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: a.As4(), Port: benchPort})
	}
	if err == nil {
		err = unix.Listen(fd, 1024)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func (p *path) turn(b *testing.B) {
	const connections = 24
	var took [connections]time.Duration
	p.lab.a.Do(func() {
		for i := range took {
			to := unix.SockaddrInet4{Addr: podFar.As4(), Port: benchPort}
			if p.targets != nil {
				to = p.targets[rand.IntN(len(p.targets))]
			}
			start := time.Now()
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Connect(fd, &to)
			}
			if err != nil {
				b.Error(p.name, err)
				return
			}
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(fd)
			took[i] = time.Since(start)
		}
	})
	for _, fd := range p.listen {
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				break
			}
			_ = unix.Close(c)
		}
	}
	slices.Sort(took[:])
	p.took = float64(took[connections/2].Nanoseconds()) / 1000
}
