package packet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// TestMain makes this program a proxy of its own when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "proxy" {
		if err := serveProxy(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// note is what the test tells a proxy's process: an object, or that there are no
// more to begin with. Each is answered by a line when the kernel has it.
type note struct {
	Service *corev1.Service
	Slice   *discoveryv1.EndpointSlice
	Node    *corev1.Node
	Delete  bool
	Synced  bool
}

func noteOf(o runtime.Object, gone bool) note {
	n := note{Delete: gone}
	switch o := o.(type) {
	case *corev1.Service:
		n.Service = o
	case *discoveryv1.EndpointSlice:
		n.Slice = o
	case *corev1.Node:
		n.Node = o
	}
	return n
}

func (n note) object() runtime.Object {
	switch {
	case n.Service != nil:
		return n.Service
	case n.Slice != nil:
		return n.Slice
	}
	return n.Node
}

// serveProxy runs a node's Proxy until in ends.
func serveProxy(name string, in io.Reader, out io.Writer) error {
	w := world.New()
	p := nft.New(config(name), w, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	synced := false
	for notes := json.NewDecoder(in); ; {
		var n note
		if err := notes.Decode(&n); err != nil {
			cancel()
			return <-done
		}
		before := p.Stats().Transactions
		switch {
		case n.Synced:
			w.MarkSynced()
			synced = true
		case n.Delete:
			w.Delete(n.object())
		default:
			w.Put(n.object())
		}
		if !synced {
			continue
		}
		for end := time.Now().Add(20 * time.Second); p.Stats().Transactions == before; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				return fmt.Errorf("not written: %+v", p.Stats())
			}
		}
		fmt.Fprintln(out, p.Stats().Transactions)
	}
}

// child is a node's Proxy in a process of its own, and all that it has to know.
type child struct {
	l       *lab
	on      *node
	known   []runtime.Object
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	running bool
}

// start starts the process and waits until it has written what it knows.
func (c *child) start() {
	c.l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.l.t.Fatal(err)
	}
	c.cmd = exec.Command(self, "proxy", c.on.name)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		c.l.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.l.t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	c.on.Do(func() { err = c.cmd.Start() })
	if err != nil {
		c.l.t.Fatal(err)
	}
	c.running = true
	cmd := c.cmd
	c.l.t.Cleanup(func() {
		if c.cmd == cmd && c.running {
			c.end()
		}
	})
	for _, o := range c.known {
		c.send(noteOf(o, false))
	}
	c.send(note{Synced: true})
	c.await()
}

func (c *child) send(n note) {
	c.l.t.Helper()
	if err := json.NewEncoder(c.in).Encode(n); err != nil {
		c.l.t.Fatalf("proxy of %s: %v", c.on.name, err)
	}
}

// await waits until the note sent last is in the kernel.
func (c *child) await() {
	c.l.t.Helper()
	if !c.out.Scan() {
		c.l.t.Fatalf("the proxy of %s has ended", c.on.name)
	}
}

// put remembers an object and, if the process runs, waits until it is written.
func (c *child) put(o runtime.Object) {
	c.l.t.Helper()
	c.remember(o)
	if c.running {
		c.send(noteOf(o, false))
		c.await()
	}
}

// forget makes the next process never hear of an object.
func (c *child) forget(o runtime.Object) {
	c.known = slices.DeleteFunc(c.known, func(k runtime.Object) bool { return key(k) == key(o) })
}

func (c *child) remember(o runtime.Object) {
	for i, old := range c.known {
		if key(old) == key(o) {
			c.known[i] = o
			return
		}
	}
	c.known = append(c.known, o)
}

func key(o runtime.Object) string {
	switch o := o.(type) {
	case *corev1.Service:
		return "service " + o.Name
	case *discoveryv1.EndpointSlice:
		return "slice " + o.Name
	case *corev1.Node:
		return "node " + o.Name
	}
	return ""
}

// kill ends the process as kill -9 does, in the middle of a change.
func (c *child) kill(amid runtime.Object) {
	c.l.t.Helper()
	c.remember(amid)
	c.send(noteOf(amid, false))
	if err := c.cmd.Process.Kill(); err != nil {
		c.l.t.Fatal(err)
	}
	_ = c.cmd.Wait() // killed
	c.running = false
}

// end lets the process end by itself.
func (c *child) end() {
	c.l.t.Helper()
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.l.t.Errorf("proxy of %s: %v", c.on.name, err)
	}
	c.running = false
}
