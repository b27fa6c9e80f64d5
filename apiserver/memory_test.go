package apiserver_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
	common "fairlead.dev/fairlead/internal/definitions"
	"fairlead.dev/fairlead/internal/heap"
)

// memoryChild is set in the environment of the process whose memory is measured: to a control group that it joins, or to "none".
const memoryChild = "FAIRLEAD_TEST_MEMORY_CHILD"

// TestMemoryChild is that process: a server, until its standard input ends.
func TestMemoryChild(t *testing.T) {
	group := os.Getenv(memoryChild)
	if group == "" {
		return
	}
	if group != "none" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	go heap.Tend(t.Context())
	config := apitest.Start(t)
	fmt.Println("serving", config.Host, config.BearerToken)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// measured is a server in a process of its own.
type measured struct {
	*rest.Config
	pid int
}

func startMeasured(t *testing.T, group string) measured {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryChild$", "-test.v")
	cmd.Env = append(os.Environ(), memoryChild+"="+group)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var drained sync.WaitGroup
	t.Cleanup(func() {
		stdin.Close()
		drained.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the measured process: %v", err)
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "serving" {
			drained.Go(func() { _, _ = io.Copy(io.Discard, stdout) })
			config := &rest.Config{Host: words[1], BearerToken: words[2], QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
			return measured{config, cmd.Process.Pid}
		}
	}
	t.Fatal("the measured process ended before it served")
	return measured{}
}

// status is a line of what the kernel knows about the process, in MB: VmRSS now, VmHWM at its highest.
func (m measured) status(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == name+":" {
			kilobytes, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes >> 10
		}
	}
	t.Fatalf("the kernel does not tell %s", name)
	return 0
}

// rests waits until the process takes no more than most MB, for a minute, and returns what it takes then.
func (m measured) rests(t *testing.T, what string, most int) int {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for m.status(t, "VmRSS") > most && time.Now().Before(deadline) {
		time.Sleep(time.Second)
	}
	now := m.status(t, "VmRSS")
	if now > most {
		t.Errorf("%s: %d MB a minute later, want %d at most", what, now, most)
	}
	return now
}

// The figures have wide margins: what they are on a quiet machine is in docs/benchmarks.md.
func TestMemoryOfDefinitions(t *testing.T) {
	server := startMeasured(t, "none")
	client := dynamicOf(t, server.Config)
	start := server.rests(t, "a start", 200)
	install(t, client, common.Common()...)
	installed := server.rests(t, "53 definitions", start+150)
	peak := server.status(t, "VmHWM")
	if peak > start+450 {
		t.Errorf("53 definitions took %d MB for a moment, of %d at the start", peak, start)
	}
	if err := client.Resource(definitions()).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the definitions are gone", func() bool {
		list, err := client.Resource(definitions()).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil && len(list.Items) == 0
	})
	gone := server.rests(t, "without the definitions", start+100)
	t.Logf("MB: %d at the start, %d with 53 definitions, %d at most, %d without them", start, installed, peak, gone)
}

// Without regard for its limit the server would take more, and be ended by the kernel.
func TestMemoryLimit(t *testing.T) {
	group, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(group); err != nil {
		group, limit = "/sys/fs/cgroup", "memory.max"
	}
	group = filepath.Join(group, "fairlead-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatalf("this test makes a control group: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(group, limit), []byte("320M"), 0o644); err != nil {
		t.Fatal(err)
	}
	client := dynamicOf(t, startMeasured(t, group).Config)
	kinds := install(t, client, common.Common()...)
	for _, kind := range kinds {
		if _, err := client.Resource(kind).List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			list, err := client.Resource(definitions()).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Error(err)
			} else if len(list.Items) != len(kinds) {
				t.Errorf("%d definitions, want %d", len(list.Items), len(kinds))
			}
		})
	}
	readers.Wait()
}
