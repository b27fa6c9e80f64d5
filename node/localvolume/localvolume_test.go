package localvolume

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api/localvolume"
)

const volume = "pvc-0b0f0c9e-3b1c-4d5e-8f00-112233445566"

func volumes(t *testing.T) *Volumes {
	return &Volumes{Dir: filepath.Join(t.TempDir(), "volumes"), Log: slog.New(slog.DiscardHandler)}
}

// ask asks as the control plane does.
func ask(t *testing.T, v *Volumes, request localvolume.Request) (localvolume.Reply, int) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	v.ServeHTTP(w, httptest.NewRequest(http.MethodPost, localvolume.Path, bytes.NewReader(body)))
	var reply localvolume.Reply
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatal(err)
		}
	}
	return reply, w.Code
}

func TestADirectoryIsMadeOnceAndRemovedWhole(t *testing.T) {
	v := volumes(t)
	for range 2 {
		reply, _ := ask(t, v, localvolume.Request{Volume: volume, Claim: "default/data", Want: localvolume.Present})
		if len(reply.Directories) != 1 || reply.Problem != "" || reply.Directories[0].Path != v.Path(volume) {
			t.Fatalf("%+v", reply)
		}
		if err := os.WriteFile(filepath.Join(v.Path(volume), "kept"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(v.Path(volume))
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("%v %v: not everybody's to write", info, err)
	}
	if info, err = os.Stat(filepath.Dir(v.Path(volume))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v: others of the host may enter it", info, err)
	}
	if all, err := List(v.Dir); err != nil || len(all) != 1 || all[0].Claim != "default/data" {
		t.Errorf("%+v %v", all, err)
	}
	if reply, _ := ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.NoWaste}); !strings.Contains(reply.Problem, "files in it") || len(reply.Directories) != 1 {
		t.Errorf("what is used: %+v", reply)
	}
	for range 2 {
		if reply, _ := ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Absent}); reply.Problem != "" || len(reply.Directories) != 0 {
			t.Errorf("%+v", reply)
		}
	}
	if left, _ := os.ReadDir(v.Dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestLinksInAVolumeLeadNowhere: a pod has planted links in its volume before that is removed, and one in place of it.
func TestLinksInAVolumeLeadNowhere(t *testing.T) {
	v, outside := volumes(t), t.TempDir()
	precious := filepath.Join(outside, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Present})
	for name, to := range map[string]string{"up": "../../..", "out": outside, "root": "/"} {
		if err := os.Symlink(to, filepath.Join(v.Path(volume), name)); err != nil {
			t.Fatal(err)
		}
	}
	if reply, _ := ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Absent}); reply.Problem != "" {
		t.Error(reply.Problem)
	}
	if err := os.Symlink(outside, filepath.Join(v.Dir, volume)); err != nil {
		t.Fatal(err)
	}
	ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Absent})
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestNamesThatLeadElsewhereAreNone(t *testing.T) {
	v := volumes(t)
	for _, name := range []string{"", "pvc-", "..", "pvc-../../etc", "/etc", "pvc-a/b", "pvc-a.removing", "other", "pvc-a\x00"} {
		for _, want := range []localvolume.Wanted{localvolume.Present, localvolume.Absent} {
			if _, code := ask(t, v, localvolume.Request{Volume: name, Want: want}); code != http.StatusBadRequest {
				t.Errorf("%q: %d", name, code)
			}
		}
	}
	if reply, _ := ask(t, v, localvolume.Request{Volume: volume, Want: "gone"}); reply.Problem == "" {
		t.Error("an unknown wish is done")
	}
	if _, err := os.Stat(v.Dir); err == nil {
		t.Error("something was made")
	}
}

func TestWhatIsUsedOrHalfRemoved(t *testing.T) {
	v := volumes(t)
	ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Present})
	v.InUse = func(string) string { return "default/db-0" }
	if reply, _ := ask(t, v, localvolume.Request{Volume: volume, Want: localvolume.Absent}); reply.Problem != "pod default/db-0 still has it" || len(reply.Directories) != 1 {
		t.Errorf("%+v", reply)
	}
	if err := os.Rename(filepath.Join(v.Dir, volume), filepath.Join(v.Dir, volume+goingSuffix)); err != nil {
		t.Fatal(err)
	}
	if all, err := List(v.Dir); err != nil || len(all) != 0 {
		t.Errorf("what is being removed counts: %v %v", all, err)
	}
	if err := v.Finish(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(v.Dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
