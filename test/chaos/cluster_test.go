package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/host/netns"
)

// The lab's ranges are narrow, so that numbers that leak are missed soon.
const (
	firstPort = 31000
	ports     = 200
)

// cluster is a lab of two nodes on a disk of its own.
type cluster struct {
	t    *testing.T
	dir  string
	home string
}

// newCluster mounts a disk of the given number of MiB for a lab that has not been started.
func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	c := &cluster{t: t, dir: filepath.Join("/var/lib", fmt.Sprintf("fl-chaos-%d", os.Getpid())), home: t.TempDir()}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("fairlead-chaos", c.dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(c.path("server.log"))
			lines := strings.Split(string(log), "\n")
			t.Logf("server.log ends:\n%s", strings.Join(lines[max(0, len(lines)-80):], "\n"))
		}
		if out, err := c.fairlead("down"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		if err := eventually(10*time.Second, func() error { return syscall.Unmount(c.dir, 0) }); err != nil {
			t.Errorf("unmount %s: %v", c.dir, err)
		}
		os.Remove(c.dir)
	})
	return c
}

func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// fairlead runs the program on the cluster's directory, for a minute at most.
func (c *cluster) fairlead(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../bin/fairlead", append(args, "--data-dir", c.dir)...)
	cmd.Env = append(os.Environ(), "HOME="+c.home, "KUBECONFIG=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// up starts the lab.
func (c *cluster) up() (string, error) {
	return c.fairlead("up", "--name", "chaos", "--nodes", "2", "--service-cidr", "10.111.0.0/24", "--node-ports", fmt.Sprintf("%d-%d", firstPort, firstPort+ports-1))
}

func (c *cluster) must(out string, err error) string {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// config is the administrator's way to the API server, without limits on the client's side.
func (c *cluster) config() *rest.Config {
	c.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.path("admin.kubeconfig"))
	if err != nil {
		c.t.Fatal(err)
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	return config
}

func (c *cluster) clients() (kubernetes.Interface, dynamic.Interface) {
	c.t.Helper()
	typed, err := kubernetes.NewForConfig(c.config())
	if err != nil {
		c.t.Fatal(err)
	}
	loose, err := dynamic.NewForConfig(c.config())
	if err != nil {
		c.t.Fatal(err)
	}
	return typed, loose
}

// main is the cluster's own process, by the number in its lock.
func (c *cluster) main() (int, error) {
	text, err := os.ReadFile(c.path("lock"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// processes are those of the cluster whose command line matches.
func (c *cluster) processes(form string) []int {
	matches := regexp.MustCompile(form)
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		line := strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
		if strings.Contains(line, c.dir) && matches.MatchString(line) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// whole is nil when the API server answers and both nodes' agents have been heard of since then.
func (c *cluster) whole(ctx context.Context, client kubernetes.Interface, since time.Time) error {
	leases, err := client.CoordinationV1().Leases("kube-node-lease").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	heard := 0
	for _, l := range leases.Items {
		if l.Spec.RenewTime != nil && l.Spec.RenewTime.After(since) {
			heard++
		}
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for _, n := range nodes.Items {
		if slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			ready++
		}
	}
	if heard < 2 || ready < 2 {
		return fmt.Errorf("%d nodes are ready, %d were heard of since the fault", ready, heard)
	}
	return nil
}

// ask asks a URL once, on a new connection, from a node of the lab.
func (c *cluster) ask(node, url string) (string, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = netns.Do(c.path("netns", node), func() error {
				conn, err = dialer.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// eventually tries until there is no error, for as long as patience lasts.
func eventually(patience time.Duration, try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
