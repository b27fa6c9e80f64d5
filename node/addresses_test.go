package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestLostAddressFilesShareNoAddress removes, and damages, what the plugin host-local remembers while pods run, also across a
// restart of the agent. No two pods have one address afterwards.
func TestLostAddressFilesShareNoAddress(t *testing.T) {
	b := newBench(t)
	seen := map[string]string{}
	start := func(name string) {
		t.Helper()
		b.create(pod(name))
		p := b.await(name, "running with an address", func(p *corev1.Pod) bool { return running(p) && p.Status.PodIP != "" })
		if other := seen[p.Status.PodIP]; other != "" {
			t.Errorf("%s and %s have the address %s", other, name, p.Status.PodIP)
		}
		seen[p.Status.PodIP] = name
	}
	for i := range 3 {
		start(fmt.Sprint("a", i))
	}
	data := filepath.Join(b.containerd.Dir, "cni-data", "fairlead")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		start(fmt.Sprint("b", i))
	}
	files, err := filepath.Glob(filepath.Join(data, "10*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of addresses: %v, %v", files, err)
	}
	for _, file := range files {
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
	}
	start("c0")
	b.stop()
	b.startAgent()
	b.await("a0", "known to the new agent", running)
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	start("d0")
	start("d1")
}

// TestALostNetworkConfigurationComesBack removes the file that tells the runtime how pods are connected.
func TestALostNetworkConfigurationComesBack(t *testing.T) {
	b := newBench(t)
	b.create(pod("before"))
	b.await("before", "running", running)
	files, err := filepath.Glob(filepath.Join(b.containerd.Dir, "*", "*.conflist"))
	if err != nil || len(files) != 1 {
		t.Fatalf("network configurations: %v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	b.create(pod("after"))
	b.await("after", "running with an address", func(p *corev1.Pod) bool { return running(p) && p.Status.PodIP != "" })
	if _, err := os.Stat(files[0]); err != nil {
		t.Error(err)
	}
}
