package instance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/cluster/config"
)

func TestLockIsExclusiveAndNamesItsHolder(t *testing.T) {
	i := Instance{Dir: t.TempDir()}
	if _, running := i.Running(); running {
		t.Fatal("runs before it was locked")
	}
	lock, err := i.Lock()
	if err != nil {
		t.Fatal(err)
	}
	var busy *RunningError
	if _, err := i.Lock(); !errors.As(err, &busy) || busy.PID != os.Getpid() {
		t.Errorf("second lock: %v", err)
	}
	lock.Close()
	if _, running := i.Running(); running {
		t.Error("still runs after its lock was let go")
	}
}

func TestPrepareRefusesAnotherLayoutAndForeignFiles(t *testing.T) {
	fresh := Instance{Dir: filepath.Join(t.TempDir(), "new")}
	for range 2 {
		if err := fresh.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(fresh.Path("version"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Prepare(); err == nil || !strings.Contains(err.Error(), `layout "99"`) {
		t.Errorf("another layout: %v", err)
	}
	foreign := Instance{Dir: t.TempDir()}
	if err := os.WriteFile(foreign.Path("letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := foreign.Prepare(); err == nil || !strings.Contains(err.Error(), "letter.txt") {
		t.Errorf("foreign files: %v", err)
	}
}

func TestSettingsAndSecretSurvive(t *testing.T) {
	i := Instance{Dir: t.TempDir()}
	want := config.Config{Name: "lab", Nodes: 2, EtcdServers: []string{"https://192.0.2.1:2379"}}
	if err := i.SaveSettings(want); err != nil {
		t.Fatal(err)
	}
	got, err := i.LoadSettings()
	if err != nil || got.Name != want.Name || got.Nodes != want.Nodes || got.EtcdServers[0] != want.EtcdServers[0] {
		t.Errorf("got %+v, %v", got, err)
	}
	first, err := i.Secret("token")
	if err != nil || len(first) != 32 {
		t.Fatalf("secret %q, %v", first, err)
	}
	if again, err := i.Secret("token"); err != nil || again != first {
		t.Errorf("secret changed: %q, %v", again, err)
	}
}

func TestRemoveLeavesTheUsersFilesAndWhatIsToBeKept(t *testing.T) {
	made := Instance{Dir: filepath.Join(t.TempDir(), "made")}
	if err := made.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(made.Path("etcd", "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(made.Path("server.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := made.Remove(true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(made.Path("etcd", "member")); err != nil {
		t.Errorf("kept data is gone: %v", err)
	}
	if _, err := os.Stat(made.Path("server.log")); err == nil {
		t.Error("the log was kept")
	}
	if err := made.Remove(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(made.Dir); err == nil {
		t.Error("the directory that Prepare made stayed")
	}
	users := Instance{Dir: t.TempDir()}
	if err := os.WriteFile(users.Path("config.yaml"), []byte("port: 7000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := users.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := users.Remove(false); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(users.Dir); err != nil || len(entries) != 1 || entries[0].Name() != "config.yaml" {
		t.Errorf("left: %v, %v", entries, err)
	}
}
