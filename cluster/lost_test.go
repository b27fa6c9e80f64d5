package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/cluster/instance"
)

// A cluster that is there gets neither another authority nor another network, and a removal needs neither.
func TestNothingIsMadeAnewOverACluster(t *testing.T) {
	lose := map[string]func(path string) error{
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
	}
	for _, name := range []string{"pki/ca.crt", "pki/ca.key", "pki", "lab.json", "settings.json"} {
		for how, do := range lose {
			inst := begun(t)
			path := inst.Path(filepath.FromSlash(name))
			if name == "pki" {
				do = os.RemoveAll
			}
			before, _ := filepath.Glob(inst.Path("*", "*"))
			if err := do(path); err != nil {
				t.Fatal(err)
			}
			err := smallFiles(inst)
			if err == nil || !strings.Contains(err.Error(), filepath.Base(path)) || !strings.Contains(err.Error(), "fairlead down") {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if after, _ := filepath.Glob(inst.Path("*", "*")); len(after) > len(before) {
				t.Errorf("%s %s: made %v", name, how, after)
			}
			if found, s, err := Locate(config.Config{DataDir: inst.Dir}); name != "settings.json" && (err != nil || found != inst || s.Name != "lost") {
				t.Errorf("%s %s: it cannot even be removed: %v", name, how, err)
			}
		}
	}
}

// begun is a lab that has been started once, as far as its files go.
func begun(t *testing.T) instance.Instance {
	t.Helper()
	inst := instance.Instance{Dir: filepath.Join(t.TempDir(), "data")}
	err := errors.Join(inst.Prepare(), inst.SaveSettings(config.Config{Name: "lost", Nodes: 1}), smallFiles(inst), os.MkdirAll(inst.Path("etcd", "member"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// smallFiles makes or reads what a start makes or reads, in its order.
func smallFiles(inst instance.Instance) error {
	s, err := resume(config.Config{DataDir: inst.Dir})
	if err != nil {
		return err
	}
	if _, err := labOf(inst, s); err != nil {
		return err
	}
	if _, err := authority(inst); err != nil {
		return err
	}
	_, err = inst.Secret("token")
	return err
}

func TestANameThatIsNotTheClustersIsRefused(t *testing.T) {
	inst := begun(t)
	where := config.Config{Name: "other", DataDir: inst.Dir}
	if _, err := resume(where); err == nil || !strings.Contains(err.Error(), `is named "lost"`) {
		t.Errorf("up: %v", err)
	}
	if _, _, err := Locate(where); err == nil || !strings.Contains(err.Error(), `is named "lost"`) {
		t.Errorf("down: %v", err)
	}
	if s, err := resume(config.Config{DataDir: inst.Dir}); err != nil || s.Name != "lost" || s.Nodes != 1 {
		t.Errorf("up without a name: %+v, %v", s.Config, err)
	}
}
