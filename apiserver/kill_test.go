package apiserver_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

// victimDir, in the environment, makes this test binary the server that TestDataSurvivesKill kills.
const victimDir = "FAIRLEAD_TEST_VICTIM_DIR"

// TestVictim writes objects until it is killed, and tells each one that was acknowledged.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		return // not a test of its own: TestDataSurvivesKill runs it in a process
	}
	server, _ := apitest.Run(t, apitest.Config(t, dir))
	client := clientOf(t, server.ClientConfig())
	for i := 0; i < 100_000; i++ {
		name := fmt.Sprintf("a%d", i)
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("acknowledged", name)
	}
}

func TestDataSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	victim := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v")
	victim.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(time.Minute, func() { _ = victim.Process.Kill() })
	defer deadline.Stop()
	var acknowledged []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
			acknowledged = append(acknowledged, name)
		}
		if len(acknowledged) == 50 {
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = victim.Wait() // killed
	if len(acknowledged) < 50 {
		t.Fatalf("the server ended after %d writes", len(acknowledged))
	}
	server, _ := apitest.Run(t, apitest.Config(t, dir))
	client := clientOf(t, server.ClientConfig())
	for _, name := range acknowledged {
		if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Errorf("acknowledged before the kill, but: %v", err)
		}
	}
}
