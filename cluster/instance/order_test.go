package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/cluster/config"
)

// begun is an instance with every file that a cluster has.
func begun(t *testing.T) Instance {
	t.Helper()
	i := Instance{Dir: filepath.Join(t.TempDir(), "data")}
	err := errors.Join(i.Prepare(), i.SaveSettings(config.Config{Name: "lab", Nodes: 2}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Secret("token"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(i.Path("pki"), 0o700), os.Mkdir(i.Path("etcd"), 0o700)); err != nil {
		t.Fatal(err)
	}
	return i
}

// start does what a start does with the small files.
func start(i Instance) error {
	_, settings := i.LoadSettings()
	_, token := i.Secret("token")
	return errors.Join(i.Prepare(), settings, token)
}

func TestAFileThatIsEmptyCutShortOrLostIsNamedAndNotMadeAnew(t *testing.T) {
	for _, name := range []string{"version", "settings.json", "token"} {
		for damage, do := range map[string]func(path string, text []byte) error{
			"empty":   func(path string, _ []byte) error { return os.Truncate(path, 0) },
			"blank":   func(path string, _ []byte) error { return os.WriteFile(path, []byte("\n"), 0o600) },
			"cut":     func(path string, text []byte) error { return os.Truncate(path, int64(len(text)/2)) },
			"zeroed":  func(path string, text []byte) error { return os.WriteFile(path, make([]byte, len(text)), 0o600) },
			"missing": func(path string, _ []byte) error { return os.Remove(path) },
		} {
			i := begun(t)
			path := i.Path(name)
			text, err := os.ReadFile(path)
			if err != nil || start(i) != nil {
				t.Fatal(err, start(i))
			}
			if len(text) == 2 && damage == "cut" { // half of "1\n" is whole
				continue
			}
			if err := do(path, text); err != nil {
				t.Fatal(err)
			}
			before, beforeErr := os.ReadFile(path)
			if err := start(i); err == nil || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), "layout") {
				t.Errorf("%s %s: %v", name, damage, err)
			}
			after, afterErr := os.ReadFile(path)
			if string(after) != string(before) || errors.Is(afterErr, fs.ErrNotExist) != errors.Is(beforeErr, fs.ErrNotExist) {
				t.Errorf("%s %s: now %q, %v", name, damage, after, afterErr)
			}
		}
	}
}

func TestANewClusterLacksNothing(t *testing.T) {
	i := Instance{Dir: filepath.Join(t.TempDir(), "data")}
	if err := i.Prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := i.LoadSettings(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("settings: %v", err)
	}
	for _, name := range []string{"lab.json", "pki", "token"} {
		if err := i.MayMake(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := begun(t).MayMake("pki"); err == nil || !strings.Contains(err.Error(), "fairlead down") {
		t.Errorf("a second authority: %v", err)
	}
}

func TestWhatShowsThatThereIsAClusterIsRemovedLast(t *testing.T) {
	i := begun(t)
	entries, err := os.ReadDir(i.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var last []string
	for _, e := range entries {
		if goes(e.Name()) > goes("token") {
			last = append(last, e.Name())
		}
	}
	if len(last) != 4 { // created, version, settings.json, pki
		t.Errorf("removed after the token: %v", last)
	}
	if err := i.Remove(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(i.Dir); err == nil {
		t.Error("the directory stayed")
	}
}

func TestADirectoryThatOthersCanReplaceIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files to another user: run it as root")
	}
	for name, c := range map[string]struct {
		arrange func(base string) (dir string, err error)
		want    string // "" is accepted
	}{
		"root's": {func(base string) (string, error) { return base + "/new", nil }, ""},
		"a user's home": {func(base string) (string, error) {
			return base + "/home/data", errors.Join(os.Mkdir(base+"/home", 0o755), os.Chown(base+"/home", 65534, 65534))
		}, "/home belongs to user 65534"},
		"a user's own": {func(base string) (string, error) {
			return base + "/data", errors.Join(os.Mkdir(base+"/data", 0o700), os.Chown(base+"/data", 65534, 65534))
		}, "/data belongs to user 65534"},
		"a parent for everybody": {func(base string) (string, error) {
			return base + "/all/data", errors.Join(os.Mkdir(base+"/all", 0), os.Chmod(base+"/all", 0o777))
		}, "others than root may write into"},
		"in a sticky one": {func(base string) (string, error) {
			return base + "/tmp/data", errors.Join(os.Mkdir(base+"/tmp", 0), os.Chmod(base+"/tmp", 0o777|os.ModeSticky))
		}, ""},
		"sticky itself": {func(base string) (string, error) {
			return base + "/tmp", errors.Join(os.Mkdir(base+"/tmp", 0), os.Chmod(base+"/tmp", 0o777|os.ModeSticky))
		}, "others than root may write into it"},
		"for a group": {func(base string) (string, error) {
			return base + "/data", errors.Join(os.Mkdir(base+"/data", 0), os.Chown(base+"/data", 0, 100), os.Chmod(base+"/data", 0o770))
		}, "others than root may write"},
		"root's link": {func(base string) (string, error) {
			return base + "/link/data", errors.Join(os.Mkdir(base+"/real", 0o700), os.Symlink("real", base+"/link"))
		}, ""},
		"root's link to a user's": {func(base string) (string, error) {
			return base + "/link", errors.Join(os.Mkdir(base+"/real", 0o700), os.Chown(base+"/real", 65534, 65534), os.Symlink(base+"/real", base+"/link"))
		}, "/real belongs to user 65534"},
		"a user's link to root's": {func(base string) (string, error) {
			return base + "/link", errors.Join(os.Mkdir(base+"/real", 0o700), os.Symlink(base+"/real", base+"/link"), os.Lchown(base+"/link", 65534, 65534))
		}, "/link belongs to user 65534"},
		"a link to itself": {func(base string) (string, error) { return base + "/loop", os.Symlink("loop", base+"/loop") }, "too many"},
		"a file":           {func(base string) (string, error) { return base + "/file", os.WriteFile(base+"/file", nil, 0o600) }, "not a directory"},
	} {
		dir, err := c.arrange(t.TempDir())
		if err != nil {
			t.Fatal(name, err)
		}
		err = Instance{Dir: dir}.Prepare()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
