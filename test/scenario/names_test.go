package scenario

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/host/netns"
)

// questions asks the cluster DNS address for one name, 5 000 times a second from many ports of a pod, each query once.
type questions struct {
	sockets []*net.UDPConn
	stop    chan struct{}
	sending sync.WaitGroup
	reading sync.WaitGroup
	sent    atomic.Int64
	got     atomic.Int64
	wrong   atomic.Int64
}

// perTick queries are sent each millisecond.
const perTick = 5

// inPod is the network namespace of a running pod.
func (c *cluster) inPod(pod string) string {
	c.t.Helper()
	uid := c.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	entries, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range entries {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), uid) {
			return filepath.Join(filepath.Dir(file), "ns/net")
		}
	}
	c.t.Fatalf("pod %s has no process", pod)
	return ""
}

// asking starts to ask from a pod.
func asking(t *testing.T, space string) *questions {
	t.Helper()
	q := &questions{stop: make(chan struct{})}
	err := netns.Do(space, func() error {
		for range 64 {
			s, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(10, 96, 0, 10), Port: 53})
			if err != nil {
				return err
			}
			q.sockets = append(q.sockets, s)
			raw, err := s.SyscallConn()
			if err != nil {
				return err
			}
			raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range q.sockets {
		q.reading.Go(func() { q.read(s) })
	}
	q.sending.Go(q.send)
	return q
}

// send asks until it is told to stop.
func (q *questions) send() {
	query := []byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01")
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for begin, n := time.Now(), 0; ; {
		select {
		case <-q.stop:
			return
		case <-ticks.C:
		}
		for due := perTick * int(time.Since(begin)/time.Millisecond); n < due; n++ {
			query[0], query[1] = byte(n>>8), byte(n)
			if _, err := q.sockets[n%len(q.sockets)].Write(query); err == nil {
				q.sent.Add(1)
			}
		}
	}
}

// read counts the answers that come to one port.
func (q *questions) read(s *net.UDPConn) {
	buf := make([]byte, 512)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if n < 12 || buf[3]&0xf != 0 || buf[7] != 1 {
			q.wrong.Add(1)
		}
		q.got.Add(1)
	}
}

// lost ends asking and returns how many of how many queries have not been answered within the five seconds after which a
// resolver asks again.
func (q *questions) lost() (lost, sent int64) {
	close(q.stop)
	q.sending.Wait()
	for end := time.Now().Add(5 * time.Second); q.got.Load() < q.sent.Load() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range q.sockets {
		s.Close()
	}
	q.reading.Wait()
	return q.sent.Load() - q.got.Load(), q.sent.Load()
}

// more waits for the answers of another second.
func (q *questions) more(t *testing.T) {
	t.Helper()
	enough := q.got.Load() + 1000*perTick
	eventually(t, "5 000 more answers", func() error {
		if n := q.got.Load(); n < enough {
			return fmt.Errorf("%d answers of %d queries, want %d", n, q.sent.Load(), enough)
		}
		return nil
	})
}

// askingPod starts a pod that can ask.
func (c *cluster) askingPod(node string) string {
	c.t.Helper()
	c.images("busybox")
	c.kubectl("run", "asking", "--image=busybox:1.35", "--restart=Never", "--overrides", `{"spec":{"nodeName":"`+node+`"}}`, "--", "sleep", "3600")
	c.kubectl("wait", "--for=condition=Ready", "pod/asking", "--timeout=60s")
	return c.inPod("asking")
}

// TestNamesOverRestarts stops the agent of a node in good order, several times, while a pod asks 5 000 queries a second,
// none of them twice. While the agent is away the other node's server answers; every query has its answer.
func TestNamesOverRestarts(t *testing.T) {
	c := newCluster(t)
	c.up("--nodes", "2")
	q := asking(t, c.askingPod("node1"))
	for range 3 {
		q.more(t)
		old := c.agent("node1")
		if err := syscall.Kill(old, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another agent answers", func() error {
			return failure(c.fairlead("kubectl", "--kubeconfig", c.path("admin.kubeconfig"), "get", "--raw", "/api/v1/nodes/node1/proxy/healthz"))
		})
	}
	q.more(t)
	if lost, sent := q.lost(); lost != 0 || q.wrong.Load() != 0 {
		t.Errorf("%d of %d queries were not answered, %d were answered wrongly", lost, sent, q.wrong.Load())
	}
}
