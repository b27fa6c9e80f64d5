package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/test/bake/trial"
)

// TestImagesRun bakes every image and runs each in a real containerd.
func TestImagesRun(t *testing.T) {
	out := t.TempDir()
	if err := bake(t.Context(), out, filepath.Join("..", "..", "build", "packages")); err != nil {
		t.Fatal(err)
	}
	c := trial.Start(t)
	var refs []string
	for _, name := range []string{"nginx.tar", "busybox.tar", "demoapp.tar", "demoapp-v1.1.tar"} {
		refs = c.Import(t, filepath.Join(out, name))
	}
	for _, want := range []string{"docker.io/library/nginx:latest", "docker.io/library/nginx:1.14.1",
		"docker.io/library/busybox:latest", "docker.io/ikubernetes/demoapp:v1.0", "docker.io/ikubernetes/demoapp:v1.1"} {
		if !slices.Contains(refs, want) {
			t.Errorf("no %s in %v", want, refs)
		}
	}
	t.Run("nginx", func(t *testing.T) { nginxServes(t, c) })
	t.Run("demoapp", func(t *testing.T) { demoappServes(t, c) })
}

func nginxServes(t *testing.T, c *trial.Containerd) {
	// the command and working directory of a Deployment that says so
	c.Run(t, "docker.io/library/nginx:1.14.1", "nginx", "--cwd", "/usr/share/nginx/html")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("nginx on %s (127.0.0.1)", hostname)
	c.Eventually(t, "nginx answers", func() error { return shows(want)(c.Exec("curl", "-sS", "127.0.0.1:80/")) })
	// a command run inside gets the working directory of the container
	checks := map[string]string{"cat index.html": "Welcome", "hostname": hostname, "wget -qO- 127.0.0.1": "nginx on"}
	for command, want := range checks {
		if err := shows(want)(c.In("nginx", "sh", "-c", command)); err != nil {
			t.Errorf("in the container %q: %v", command, err)
		}
	}
	if out := c.Stop(t, "nginx"); out != "" {
		t.Errorf("it ended with %q", out)
	}
}

func demoappServes(t *testing.T, c *trial.Containerd) {
	c.Run(t, "docker.io/ikubernetes/demoapp:v1.0", "demoapp")
	c.Eventually(t, "demoapp answers", func() error {
		return shows("iKubernetes demoapp v1.0 !! ClientIP: 127.0.0.1, ServerName: ")(c.Exec("curl", "-sS", "127.0.0.1"))
	})
	steps := []struct{ command, want string }{
		{"curl -sS -w %{http_code} 127.0.0.1/readyz", "OK200"},
		{"curl -sS -XPOST -d readyz=FAIL 127.0.0.1/readyz", ""},
		{"curl -sS -w %{http_code} 127.0.0.1/readyz", "FAIL507"},
		{"curl -sS -XPOST -d readyz=OK 127.0.0.1/readyz", ""},
		{"curl -sS -w %{http_code} 127.0.0.1/readyz", "OK200"},
	}
	for _, s := range steps {
		if out, err := c.Exec(strings.Fields(s.command)...); err != nil || out != s.want {
			t.Errorf("%s: got %q, %v, want %q", s.command, out, err, s.want)
		}
	}
	if err := shows("netstat")(c.In("demoapp", "sh", "-c", "ls /bin; cat /etc/passwd")); err != nil {
		t.Error(err)
	}
	if out := c.Stop(t, "demoapp"); out != "" {
		t.Errorf("it ended with %q", out)
	}
}

// shows tells whether a command succeeded and printed want.
func shows(want string) func(out string, err error) error {
	return func(out string, err error) error {
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("got %q, want %q in it", out, want)
		}
		return err
	}
}
