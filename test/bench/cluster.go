package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const binary = "bin/fairlead"

// cluster is a running cluster with this host as its node.
type cluster struct {
	dir      string
	env      []string
	flags    []string // of `up`, besides those that every cluster here has
	client   kubernetes.Interface
	pprof    string        // where it serves its profiles; empty: nowhere
	imported time.Duration // how long loading the image took
}

// newCluster starts a cluster on an empty directory, with further flags of `up` if any are given, and loads the
// demonstration image.
func newCluster(ctx context.Context, o options, flags ...string) (*cluster, error) {
	dir, err := os.MkdirTemp("/var/lib", "fairlead-bench-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, env: append(os.Environ(), "KUBECONFIG="+dir+".kubeconfig"), flags: flags, pprof: o.pprof}
	if err := os.Remove(dir); err != nil { // `up` makes it, `down` removes it
		return nil, err
	}
	if err := c.up(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := c.run(ctx, "image", "import", "--name", "bench", "--data-dir", dir, "build/images/demoapp.tar"); err != nil {
		return nil, err
	}
	c.imported = time.Since(start)
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	c.client, err = kubernetes.NewForConfig(cfg)
	return c, err
}

// config is how the bench reaches the API server: as administrator, without a limit, in protobuf.
func (c *cluster) config() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.dir, "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, nil
}

// up starts the cluster, or starts it again.
func (c *cluster) up(ctx context.Context) error {
	return c.run(ctx, append([]string{"up", "--name", "bench", "--data-dir", c.dir, "--pprof", c.pprof}, c.flags...)...)
}

func (c *cluster) down(ctx context.Context) error {
	return c.run(ctx, "down", "--name", "bench", "--data-dir", c.dir)
}

func (c *cluster) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("fairlead %v: %w\n%s", args, err, out)
	}
	return nil
}

// apply creates the objects of a manifest.
func (c *cluster) apply(ctx context.Context, manifest string) error {
	file := filepath.Join(c.dir, "bench.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return err
	}
	return c.run(ctx, "kubectl", "--kubeconfig", filepath.Join(c.dir, "admin.kubeconfig"), "apply", "-f", file)
}

// answer asks url until it answers, a millisecond apart, each attempt on a connection of its own.
func answer(ctx context.Context, url string) error {
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		resp, err := client.Get(url)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// gone deletes a namespace and waits until it has.
func (c *cluster) gone(ctx context.Context, namespace string) error {
	if err := c.client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := c.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); err != nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return ctx.Err()
}
