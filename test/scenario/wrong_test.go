package scenario

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func failure(r result) error {
	if r.code == 0 {
		return nil
	}
	return errors.New(r.String())
}

// refused checks that a command failed with one sentence that holds want.
func refused(t *testing.T, r result, want string) {
	t.Helper()
	if r.code == 0 || !strings.Contains(r.err, want) {
		t.Errorf("got %v\nwant a refusal with %q", r, want)
	}
	if strings.Contains(r.err, "goroutine") {
		t.Errorf("it panicked: %v", r)
	}
}

// TestWrongInputBeforeStart refuses what can be refused before anything is touched.
func TestWrongInputBeforeStart(t *testing.T) {
	before := trace(t)
	c := newCluster(t)
	refused(t, c.fairlead("up", "--no-such-flag"), "unknown flag: --no-such-flag; 'fairlead up --help'")
	refused(t, c.fairlead("up", "--data-dir", c.dir, "--pod-cidr", "banana"), `pod-cidr "banana": must be a network such as`)
	refused(t, c.fairlead("down", "--data-dir", c.dir), "nothing here: "+c.dir+" holds no Fairlead cluster")
	refused(t, c.fairlead("status", "--data-dir", c.dir), "nothing here")
	refused(t, c.fairlead("dance"), `unknown command "dance"`)

	nobody := exec.Command(binary(t), "up", "--data-dir", c.dir)
	nobody.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	nobody.Path = readable(t, nobody.Path)
	refused(t, c.command(nobody), "must be run as root")

	holder, err := net.Listen("tcp", "0.0.0.0:6443")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir), "6443")
	if r := c.fairlead("up", "--data-dir", c.dir); !strings.Contains(r.err, filepath.Base(os.Args[0])) {
		t.Errorf("the holder of the port is not named: %v", r)
	}
	holder.Close()

	for _, name := range []string{"my_host", "-a", "a..b", "(none)", strings.Repeat("a", 64), "höst", "a b"} {
		odd := exec.Command("unshare", "--uts", "sh", "-c", `printf %s "$0" >/proc/sys/kernel/hostname && exec "$@"`, name, binary(t), "up", "--data-dir", c.dir)
		refused(t, c.command(odd), "--node-name")
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir, "--node-name", "My_Host"), "node-name")
	refused(t, c.fairlead("up", "--data-dir", c.dir, "--node-name", "a", "--nodes", "2"), "node-name")

	found, err := exec.LookPath("containerd")
	if err != nil {
		t.Fatal(err)
	}
	bare := exec.Command("unshare", "--mount", "sh", "-c", "mount -n --bind /dev/null "+found+" && exec "+binary(t)+" up --data-dir "+c.dir)
	refused(t, c.command(bare), "containerd")
	if _, err := os.Stat(c.dir); err == nil {
		t.Errorf("a refused start left %s", c.dir)
	}
	unchanged(t, before)
}

// readable copies the program where everybody may run it.
func readable(t *testing.T, program string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fl-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "fairlead")
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

// TestWrongDirectories refuses directories that are not this program's.
func TestWrongDirectories(t *testing.T) {
	c := newCluster(t)
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("config.yaml"), []byte("prot: 7000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir), `unknown field "prot"`)
	if err := os.Remove(c.path("config.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("version"), []byte("77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir), `layout "77"`)
	if err := os.Remove(c.path("version")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("letters.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, c.fairlead("up", "--data-dir", c.dir), "letters.txt")
}

// TestWrongInputWhileRunning refuses a second start and bad manifests, with upstream's words where it has some.
func TestWrongInputWhileRunning(t *testing.T) {
	c := newCluster(t)
	c.up()
	refused(t, c.fairlead("up", "--data-dir", c.dir), "already running on "+c.dir)
	twin := filepath.Join(t.TempDir(), "twin")
	refused(t, c.fairlead("up", "--data-dir", twin, "--port", "7801", "--agent-port", "7802"), `a cluster named "fairlead" with other data`)
	if _, err := os.Stat(twin); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was refused left a directory: %v", err)
	}
	for manifest, want := range map[string]string{
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: [{port: 80}]}\n":                        `unknown field "spec.prots"`,
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 80}]\n  ports: [{port: 1}]\n": `"ports" already set`,
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: eighty}]}\n":                    "cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {}\n":                                           "spec.ports: Required value",
		"apiVersion: v1\nkind: Sevrice\nmetadata: {name: a}\n":                                                     `no matches for kind "Sevrice"`,
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n":                                 "spec.containers: Required value",
	} {
		file := filepath.Join(t.TempDir(), "m.yaml")
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, c.fairlead("kubectl", "--kubeconfig", c.path("admin.kubeconfig"), "apply", "-f", file), want)
	}
	refused(t, c.fairlead("image", "import", "--data-dir", c.dir, "/nonexistent.tar"), "/nonexistent.tar")
	refused(t, c.fairlead("node", "exec", "--data-dir", c.dir, "node1", "--", "true"), "is no lab")

	c.kubectl("run", "ghost", "--image=example.invalid/ghost:1")
	eventually(t, "the missing image is reported as upstream does", func() error {
		out := c.kubectl("get", "pod", "ghost")
		if strings.Contains(out, "ErrImagePull") || strings.Contains(out, "ImagePullBackOff") {
			return nil
		}
		return errors.New(out)
	})
}
