package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user without rights; their home may be searched by everybody, as homes often are.
func nobody(t *testing.T) (u User, home string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test acts as another user: run it as root")
	}
	home, err := os.MkdirTemp("", "fairlead-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	u = User{UID: 65534, GID: 65534}
	if err := errors.Join(os.Chmod(home, 0o755), os.Chown(home, u.UID, u.GID)); err != nil {
		t.Fatal(err)
	}
	u.Files = []string{filepath.Join(home, ".kube", "config")}
	return u, home
}

// theirs makes a directory, and files in it, of the user.
func (u User) theirs(t *testing.T, dir string, plant func(dir string) error) {
	t.Helper()
	err := u.do(func() error { return errors.Join(os.MkdirAll(dir, 0o755), plant(dir)) })
	if err != nil {
		t.Fatal(err)
	}
}

// secret is a file of root's that the user can neither read nor write.
func secret(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(path, []byte(flowing), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func untouched(t *testing.T, path string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 0 || st.Mode&0o777 != 0o600 || text(t, path) != flowing {
		t.Errorf("%s was changed: %+v, %v", path, st, err)
	}
}

func TestFilesOfAUserAreTheUsers(t *testing.T) {
	u, home := nobody(t)
	c := newCluster(t, "lab")
	if _, err := u.Add(c.record, c.entry); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Dir(u.Files[0]), u.Files[0]} {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Uid != 65534 || st.Gid != 65534 {
			t.Errorf("%s belongs to %d:%d, %v", path, st.Uid, st.Gid, err)
		}
	}
	c.down()
	if left, _ := os.ReadDir(home); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestNothingThatAUserPlantsLeadsToAFileOfRoots(t *testing.T) {
	for name, plant := range map[string]func(dir, target string) error{
		"a link for the kubeconfig":    func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, "config")) },
		"a link for the lock":          func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, "config.lock")) },
		"a link beside the kubeconfig": func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, "config.fairlead-new")) },
		"a link to a file yet to be":   func(dir, target string) error { return os.Symlink(target+"-new", filepath.Join(dir, "config")) },
		"a link to the directory": func(dir, target string) error {
			return errors.Join(os.Remove(dir), os.Symlink(filepath.Dir(target), dir))
		},
		"a pipe for the kubeconfig":      func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, "config"), 0o600) },
		"a directory for the kubeconfig": func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "config"), 0o700) },
		"the kernel's memory":            func(dir, _ string) error { return os.Symlink("/proc/self/mem", filepath.Join(dir, "config")) },
	} {
		t.Run(name, func(t *testing.T) {
			target := secret(t)
			u, _ := nobody(t)
			u.theirs(t, filepath.Dir(u.Files[0]), func(dir string) error { return plant(dir, target) })
			c := newCluster(t, "lab")
			ended := make(chan struct{})
			go func() { u.Add(c.record, c.entry); Remove(c.record); close(ended) }()
			<-ended
			untouched(t, target)
			if left, _ := os.ReadDir(filepath.Dir(target)); len(left) != 1 {
				t.Errorf("made for the user: %v", left)
			}
		})
	}
}

func TestAUserWhoRacesGainsNothing(t *testing.T) {
	target := secret(t)
	u, _ := nobody(t)
	dir := filepath.Dir(u.Files[0])
	u.theirs(t, dir, func(string) error { return nil })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		u.do(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				entries, _ := os.ReadDir(dir)
				for _, e := range entries { // whatever appears becomes a link to root's file
					os.Remove(filepath.Join(dir, e.Name()))
					os.Symlink(target, filepath.Join(dir, e.Name()))
				}
			}
		})
	})
	for range 50 {
		c := newCluster(t, "lab")
		os.Remove(u.Files[0] + ".lock")
		u.Add(c.record, c.entry)
		Remove(c.record)
	}
	close(stop)
	wg.Wait()
	untouched(t, target)
}

func TestAPlaceThatTheUserMayNotWriteIsRefused(t *testing.T) {
	for name, arrange := range map[string]func(home string) error{
		"a directory of root's":    func(home string) error { return os.Mkdir(filepath.Join(home, ".kube"), 0o755) },
		"a home that is read-only": func(home string) error { return os.Chmod(home, 0o555) },
		"a file of root's": func(home string) error {
			dir := filepath.Join(home, ".kube")
			return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534), os.WriteFile(filepath.Join(dir, "config"), []byte(flowing), 0o600))
		},
	} {
		u, home := nobody(t)
		if err := arrange(home); err != nil {
			t.Fatal(err)
		}
		c := newCluster(t, "lab")
		if _, err := u.Add(c.record, c.entry); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), home) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Remove(c.record); err != nil {
			t.Errorf("%s: a cluster that added nothing: %v", name, err)
		}
	}
}

func TestInvoker(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want string // the first file, or a part of the error
	}{
		"root":            {map[string]string{"HOME": "/root"}, "/root/.kube/config"},
		"sudo":            {map[string]string{"HOME": "/root", "SUDO_USER": "nobody", "SUDO_UID": "65534"}, "/nonexistent/.kube/config"},
		"forged":          {map[string]string{"HOME": "/root", "SUDO_USER": "daemon", "SUDO_UID": "65534"}, `SUDO_UID is 65534, but SUDO_USER "daemon" has the id 1`},
		"nobody at all":   {map[string]string{"HOME": "/root", "SUDO_USER": "no-such-user"}, "no-such-user"},
		"a list":          {map[string]string{"HOME": "/root", "KUBECONFIG": ":/a/config:/b"}, "/a/config"},
		"an empty list":   {map[string]string{"HOME": "/root", "KUBECONFIG": "::"}, "/root/.kube/config"},
		"without a home":  {map[string]string{}, "HOME is not set"},
		"a relative path": {map[string]string{"KUBECONFIG": "here"}, "/here"},
	} {
		for _, key := range []string{"HOME", "SUDO_USER", "SUDO_UID", "KUBECONFIG"} {
			t.Setenv(key, c.env[key])
		}
		u, err := Invoker()
		got := strings.Join(u.Files[:min(1, len(u.Files))], "")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestRightsEndWithTheWork(t *testing.T) {
	u, _ := nobody(t)
	path := secret(t)
	if err := u.do(func() error { _, err := os.ReadFile(path); return err }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("as the user: %v", err)
	}
	var wg sync.WaitGroup
	for range 100 { // on as many threads as there are
		wg.Go(func() {
			if _, err := os.ReadFile(path); err != nil {
				t.Errorf("as root again: %v", err)
			}
		})
	}
	wg.Wait()
}
